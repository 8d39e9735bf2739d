"""Specification module presence."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_string, get_string
from popcube_server.services.presence.presence import Presence
from popcube_server.services.presence.read_presence import ReadPresence

_STATUS = "/_matrix/client/v3/presence/{user_id}/status"


class PresenceEndpoints:
    def __init__(self, presence: Presence, read_presence: ReadPresence) -> None:
        self._presence = presence
        self._read_presence = read_presence

    @endpoint("GET", _STATUS)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return await self._read_presence.get(call.requester, call.path["user_id"])

    @endpoint("PUT", _STATUS)
    async def set(self, call: Call) -> Mapping[str, Any]:
        state, status_msg = get_string(call.body, "presence"), find_string(call.body, "status_msg")
        await self._presence.set(call.requester, call.path["user_id"], state, status_msg)
        return {}
