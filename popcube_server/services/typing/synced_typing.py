"""Typing as sync delivers it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import orjson

from popcube_server.services.sync.sources import DataEntry
from popcube_server.services.typing.typing_notices import TypingNotices

TYPING: Final = "m.typing"


class SyncedTyping:
    """Sync's source of typing: always the whole list of those who type now."""

    def __init__(self, notices: TypingNotices) -> None:
        self._notices = notices

    async def between(
        self, user_id: str, room_ids: Collection[str], since: int | None, upto: int
    ) -> Mapping[str, DataEntry]:
        """By room who types, where that changed; if `since` is None, where anybody types."""
        if since is not None:
            return _entries(self._notices.changed_rooms(room_ids, since, upto))
        typing = {room_id: self._notices.typing_users(room_id) for room_id in room_ids}
        return _entries({room_id: users for room_id, users in typing.items() if users})


def _entries(rooms: Mapping[str, Sequence[str]]) -> Mapping[str, DataEntry]:
    return {room_id: DataEntry(TYPING, orjson.dumps({"user_ids": users})) for room_id, users in rooms.items()}
