"""Specification modules room_send and redaction."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.rooms.send_message import SendMessage


class RoomSend:
    def __init__(self, send_message: SendMessage) -> None:
        self._send_message = send_message

    @endpoint("PUT", "/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}", Access.GUEST)
    async def send(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        event_id = await self._send_message.send(
            call.requester, path["room_id"], path["event_type"], path["txn_id"], call.body
        )
        return {"event_id": event_id}

    @endpoint("PUT", "/_matrix/client/v3/rooms/{room_id}/redact/{event_id}/{txn_id}")
    async def redact(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        event_id = await self._send_message.redact(
            call.requester, path["room_id"], path["event_id"], path["txn_id"], call.body
        )
        return {"event_id": event_id}
