"""Specification module room_event_by_timestamp."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.event_lists import is_backward
from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import MAX_CANONICAL_INTEGER, query_int, query_string
from popcube_server.services.rooms.event_at_time import EventAtTime


class RoomEventByTimestamp:
    def __init__(self, event_at_time: EventAtTime) -> None:
        self._event_at_time = event_at_time

    @endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/timestamp_to_event")
    async def find(self, call: Call) -> Mapping[str, Any]:
        query_string(call, "ts")
        at_ms = query_int(call, "ts", 0, -MAX_CANONICAL_INTEGER, MAX_CANONICAL_INTEGER)
        found = await self._event_at_time.find(call.requester, call.path["room_id"], at_ms, is_backward(call))
        return {
            "event_id": found.event.event_id,
            "origin_server_ts": found.event.origin_server_ts,
        }
