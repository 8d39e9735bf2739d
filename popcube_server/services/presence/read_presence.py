"""Presence as others see it: those who share a room.

Source: client-server API, "Presence".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from popcube_server.services.errors import NotAllowed
from popcube_server.services.platform import Platform
from popcube_server.services.presence.devices_presence import OFFLINE, ONLINE
from popcube_server.services.presence.presence import Presence
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.database import Database
from storage.presence import PresenceRepository, PresenceRow


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """`include_offline`: whether an initial sync also tells of users who are offline."""

    is_tracked: bool
    include_offline: bool


class ReadPresence:
    """Reads are of what was committed; only the time since the last activity is of the moment."""

    def __init__(
        self,
        database: Database,
        repository: PresenceRepository,
        presence: Presence,
        user_rooms: UserRooms,
        platform: Platform,
        settings: PresenceSettings,
    ) -> None:
        self._database = database
        self._repository = repository
        self._presence = presence
        self._user_rooms = user_rooms
        self._platform = platform
        self._settings = settings

    async def get(self, requester: Requester, user_id: str) -> dict[str, Any]:
        """The content of the user's presence. Raises `NotAllowed` for users who share no room."""
        if not await self._may_see(requester.user_id, user_id):
            raise NotAllowed("You are not allowed to see their presence.")
        row = None
        if self._settings.is_tracked:
            row = await self._database.read(lambda tx: self._repository.find(tx, user_id))
        return {"presence": OFFLINE} if row is None else self._content(row)

    async def get_changed(self, user_id: str, after: int, upto: int) -> Sequence[dict[str, Any]]:
        """`m.presence` events of what changed at `after` < p <= `upto` among those who share a room with the user."""
        if not self._settings.is_tracked:
            return ()
        rows = await self._database.read(lambda tx: self._repository.get_changed(tx, after, upto))
        return await self._events(user_id, rows)

    async def get_all(self, user_id: str) -> Sequence[dict[str, Any]]:
        """`m.presence` events of all who share a room with the user: what an initial sync wants."""
        if not self._settings.is_tracked:
            return ()
        if self._settings.include_offline:
            rows = await self._database.read(lambda tx: self._repository.get_changed(tx, 0, 2**62))
        else:
            rows = await self._database.read(self._repository.get_not_offline)
        return await self._events(user_id, rows)

    async def get_of_users(self, user_ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """`m.presence` events of these users, whoever asks: for users who have just begun to share a room."""
        if not self._settings.is_tracked or not user_ids:
            return ()
        rows = await self._database.read(lambda tx: self._repository.get_many(tx, user_ids))
        return [self._event(row) for row in rows]

    async def _events(self, user_id: str, rows: Sequence[PresenceRow]) -> list[dict[str, Any]]:
        return [self._event(row) for row in rows if await self._may_see(user_id, row.user_id)]

    async def _may_see(self, viewer_id: str, user_id: str) -> bool:
        return viewer_id == user_id or await self._user_rooms.do_share_a_room(viewer_id, user_id)

    def _event(self, row: PresenceRow) -> dict[str, Any]:
        return {"type": "m.presence", "sender": row.user_id, "content": self._content(row)}

    def _content(self, row: PresenceRow) -> dict[str, Any]:
        content: dict[str, Any] = {"presence": row.state}
        last_active_ms = self._presence.find_last_active_ms(row.user_id) or row.last_active_ms
        if last_active_ms:
            content["last_active_ago"] = max(0, self._platform.now_ms() - last_active_ms)
        if row.status_msg is not None:
            content["status_msg"] = row.status_msg
        if row.state == ONLINE:
            content["currently_active"] = row.currently_active
        return content
