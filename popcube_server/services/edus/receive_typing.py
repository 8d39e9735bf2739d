"""m.typing: who types on another server. Source: server-server API, "Typing Notifications"."""

from collections.abc import Mapping
from typing import Any, Final

from popcube_server.services.edus.edu_content import BadEdu, get_string, get_user_of
from popcube_server.services.edus.edu_rooms import EduRooms
from popcube_server.services.typing.typing_notices import TypingNotices

TIMEOUT_MS: Final = 60_000
"""If the other server never says that it is over."""
MAX_TYPING: Final = 100
"""Users in a room: of more, none is shown, so that one server cannot make each change of it costly."""


class ReceiveTyping:
    def __init__(self, rooms: EduRooms, typing: TypingNotices) -> None:
        self._rooms = rooms
        self._typing = typing

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        user_id = get_user_of(origin, content, "user_id")
        room_id = get_string(content, "room_id")
        is_typing = content.get("typing")
        if not isinstance(is_typing, bool):
            raise BadEdu("'typing' must be true or false")
        if is_typing and len(self._typing.typing_users(room_id)) >= MAX_TYPING:
            return
        # ACLs: "Typing notifications [...] for rooms from which a server is banned are to be ignored".
        if await self._rooms.may_tell(origin, user_id, room_id):
            await self._typing.tell(room_id, user_id, TIMEOUT_MS if is_typing else None)
