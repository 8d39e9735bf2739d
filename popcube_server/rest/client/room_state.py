"""Specification module room_state: setting state. Reading it is in rooms.py."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.rooms.send_state import SendState


class RoomStateEvents:
    def __init__(self, send_state: SendState) -> None:
        self._send_state = send_state

    # An empty state key may be left out, with or without the slash before it.
    @endpoint("PUT", "/_matrix/client/v3/rooms/{room_id}/state/{event_type}", Access.GUEST)
    @endpoint("PUT", "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key}", Access.GUEST)
    async def send(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        event_id = await self._send_state.send(
            call.requester, path["room_id"], path["event_type"], path.get("state_key", ""), call.body
        )
        return {"event_id": event_id}
