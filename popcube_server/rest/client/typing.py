"""Specification module typing."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_bool, find_int
from popcube_server.services.errors import MissingParam
from popcube_server.services.presence.presence import Presence
from popcube_server.services.typing.typing_notices import DEFAULT_TIMEOUT_MS, TypingNotices


class Typing:
    def __init__(self, notices: TypingNotices, presence: Presence) -> None:
        self._notices = notices
        self._presence = presence

    @endpoint("PUT", "/_matrix/client/v3/rooms/{room_id}/typing/{user_id}")
    async def set(self, call: Call) -> Mapping[str, Any]:
        typing = find_bool(call.body, "typing")
        if typing is None:
            raise MissingParam("'typing' is missing.")
        timeout_ms = find_int(call.body, "timeout")
        if not typing:
            timeout_ms = None
        elif timeout_ms is None:
            timeout_ms = DEFAULT_TIMEOUT_MS
        await self._notices.set_typing(call.requester, call.path["room_id"], call.path["user_id"], timeout_ms)
        self._presence.note_active(call.requester.user_id, call.requester.device_id)
        return {}
