"""Presence as others see it: those who share a room.

Source: client-server API, "Presence".
"""

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from popcube_server.services.errors import NotAllowed
from popcube_server.services.platform import Platform
from popcube_server.services.presence.devices_presence import OFFLINE, ONLINE
from popcube_server.services.presence.presence import Presence
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.database import Database
from storage.log import Log
from storage.presence import PresenceRepository, PresenceRow, SetPresence
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """`include_offline`: whether an initial sync also tells of users who are offline."""

    is_tracked: bool
    include_offline: bool


class ReadPresence:
    """Reads are of what was committed; only the time since the last activity is of the moment. Sync's source too."""

    def __init__(
        self,
        database: Database,
        repository: PresenceRepository,
        presence: Presence,
        user_rooms: UserRooms,
        log: Log,
        platform: Platform,
        settings: PresenceSettings,
    ) -> None:
        self._database = database
        self._repository = repository
        self._presence = presence
        self._user_rooms = user_rooms
        self._log = log
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

    async def between(self, user_id: str, since: int | None, upto: int) -> Sequence[tuple[str, bytes]]:
        """Sender and content of what changed after `since` and up to `upto`; of everybody if `since` is None."""
        if not self._settings.is_tracked:
            return ()
        changes = None if since is None else self._find_in_log(since, upto)
        if changes is not None:
            # Most of them concern strangers: nothing is made of those.
            seen = await self._seen(user_id, changes)
            rows = [_row(*change) for user, change in changes.items() if user in seen]
        else:
            rows = await self._read(since, upto)
            seen = await self._seen(user_id, [row.user_id for row in rows])
        return [(row.user_id, orjson.dumps(self._content(row))) for row in rows if row.user_id in seen]

    async def seen(self, user_id: str, device_id: str, presence: str) -> None:
        """The user's client syncs, and says so (`online` or `unavailable`)."""
        self._presence.note_sync(user_id, device_id, presence)

    async def _read(self, since: int | None, upto: int) -> list[PresenceRow]:
        if since is None and not self._settings.include_offline:
            return await self._database.read(self._repository.get_not_offline)
        after = since or 0
        return await self._database.read(lambda tx: self._repository.get_changed(tx, after, upto))

    def _find_in_log(self, since: int, upto: int) -> dict[str, tuple[SetPresence, int]] | None:
        """The newest change of each user, with its position."""
        entries = self._log.since(since)
        if entries is None:
            return None
        found: dict[str, tuple[SetPresence, int]] = {}
        for entry in entries:
            if entry.kind != SetPresence.kind or entry.position > upto:
                continue
            if not isinstance(entry.change, SetPresence):
                # Written by another process: only the database has the value.
                return None
            found[entry.change.user_id] = entry.change, entry.position
        return found

    async def _seen(self, viewer_id: str, user_ids: Collection[str]) -> set[str]:
        """Those whose presence a user may see: their own, and that of all with whom they share a room."""
        seen = await self._user_rooms.sharing(viewer_id, (user for user in user_ids if user != viewer_id))
        seen.add(viewer_id)
        return seen

    async def _may_see(self, viewer_id: str, user_id: str) -> bool:
        return viewer_id == user_id or await self._user_rooms.do_share_a_room(viewer_id, user_id)

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


def _row(change: SetPresence, position: int) -> PresenceRow:
    return PresenceRow(
        change.user_id,
        change.state,
        change.status_msg,
        change.last_active_ms,
        change.currently_active,
        position,
    )
