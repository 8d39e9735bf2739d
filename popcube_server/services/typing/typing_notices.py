"""Who is typing in which room: kept in memory, each change a log entry so that syncs see it at a position.

Source: client-server API, "Typing Notifications".
"""

import logging
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import field
from typing import Any, Final

from popcube_server.services.errors import InvalidParam, NotAllowed
from popcube_server.services.platform import Platform, Timer
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database, start
from storage.events import StoreEvent
from storage.log import Log, LogRepository
from storage.typing_notices import PeerTyping, TypingChanged
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_MS: Final = 30_000
MAX_TIMEOUT_MS: Final = 120_000
ENTRIES_LOOKED_AT: Final = 5_000
"""How far back a start looks for rooms where somebody was typing."""


@dataclass(slots=True)
class _Room:
    """Who types, with the timer that ends it; in the order in which they began."""

    timers: dict[str, Timer] = field(default_factory=dict)
    elsewhere: dict[str, "_PeerTypists"] = field(default_factory=dict)
    """By the log of the other site that says so."""
    changed_at: int = 0

    def users(self) -> tuple[str, ...]:
        others = (user_id for peer in self.elsewhere.values() for user_id in peer.user_ids)
        return tuple(dict.fromkeys((*self.timers, *others)))


@dataclass(frozen=True, slots=True)
class _PeerTypists:
    """Who types by what another site says, which may be lost before it says otherwise."""

    user_ids: tuple[str, ...]
    end: Timer


class TypingNotices:
    """Owns the state of all rooms. Rooms stay known after the last one stopped, so that syncs can be told."""

    def __init__(
        self, committer: Committer, database: Database, log: Log, user_rooms: UserRooms, platform: Platform
    ) -> None:
        self._committer = committer
        self._database = database
        self._user_rooms = user_rooms
        self._platform = platform
        self._rooms: dict[str, _Room] = {}
        log.follow(self._follow)

    def start(self) -> None:
        """Nobody types any more after a restart: tell those who were told otherwise."""
        self._in_background(self._end_all())

    async def stop(self) -> None:
        for room in self._rooms.values():
            for timer in room.timers.values():
                timer.cancel()
            room.timers.clear()
            for peer in room.elsewhere.values():
                if peer.end.active():
                    peer.end.cancel()
            room.elsewhere.clear()

    async def set_typing(
        self, requester: Requester, room_id: str, user_id: str, timeout_ms: int | None
    ) -> None:
        """Typing for the next `timeout_ms`, or not any more (None). Raises `NotAllowed`, `InvalidParam`."""
        if requester.user_id != user_id:
            raise NotAllowed("You can tell only of yourself that you are typing.")
        if timeout_ms is not None and timeout_ms < 0:
            raise InvalidParam("'timeout' must not be negative.")
        membership = (await self._user_rooms.of_user(user_id)).get(room_id)
        if membership is None or membership.membership != "join":
            raise NotAllowed("You are not in this room.")
        await self.tell(room_id, user_id, timeout_ms)

    async def tell(self, room_id: str, user_id: str, timeout_ms: int | None) -> None:
        """As `set_typing`, for a member of whom it is known that it is so (another server's user)."""
        room = self._rooms.get(room_id)
        timer = None if room is None else room.timers.get(user_id)
        if timeout_ms is None:
            if timer is not None:
                await self._end(room_id, user_id)
            return
        delay_s = min(timeout_ms, MAX_TIMEOUT_MS) / 1000
        if timer is not None:
            # Who goes on typing is no news.
            timer.reset(delay_s)
            return
        room = self._rooms.setdefault(room_id, _Room())
        room.timers[user_id] = self._platform.call_later(delay_s, lambda: self._expire(room_id, user_id))
        await self._tell(room_id)

    def typing_users(self, room_id: str) -> Sequence[str]:
        """User IDs of those who type in a room now."""
        room = self._rooms.get(room_id)
        return () if room is None else room.users()

    def changed_rooms(self, room_ids: Collection[str], after: int, upto: int) -> dict[str, Sequence[str]]:
        """Who types now in those of the rooms that changed last at positions `after` < p <= `upto`."""
        rooms = self._rooms
        # Whichever is shorter: a user's rooms, or the rooms where anybody ever typed.
        candidates = room_ids if len(room_ids) <= len(rooms) else rooms.keys() & set(room_ids)
        return {
            room_id: rooms[room_id].users()
            for room_id in candidates
            if room_id in rooms and after < rooms[room_id].changed_at <= upto
        }

    def _expire(self, room_id: str, user_id: str) -> None:
        self._in_background(self._end(room_id, user_id))

    async def _end(self, room_id: str, user_id: str) -> None:
        timer = self._rooms[room_id].timers.pop(user_id, None)
        if timer is None:
            return
        if timer.active():
            timer.cancel()
        await self._tell(room_id)

    async def _tell(self, room_id: str) -> None:
        await self._committer.commit(TypingChanged(room_id, tuple(self._rooms[room_id].timers)))

    async def _end_all(self) -> None:
        def read(tx: Any) -> set[str]:
            log = LogRepository()
            entries = log.read_after(tx, log.get_position(tx) - ENTRIES_LOOKED_AT, ENTRIES_LOOKED_AT)
            return {entry.key[0] for entry in entries if entry.kind == TypingChanged.kind}

        room_ids = await self._database.read(read)
        changes = [TypingChanged(room_id, ()) for room_id in room_ids if room_id not in self._rooms]
        if changes:
            await self._committer.commit(*changes)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == TypingChanged.kind:
                room = self._rooms.setdefault(entry.key[0], _Room())
                room.changed_at = entry.position
                if isinstance(entry.change, PeerTyping):
                    self._hear(room, entry.change)
            elif isinstance(entry.change, StoreEvent) and entry.change.memberships:
                self._follow_memberships(entry.change)

    def _hear(self, room: _Room, change: PeerTyping) -> None:
        peer = room.elsewhere.pop(change.log, None)
        if peer is not None and peer.end.active():
            peer.end.cancel()
        if change.user_ids:
            end = self._platform.call_later(MAX_TIMEOUT_MS / 1000, lambda: self._forget(change))
            room.elsewhere[change.log] = _PeerTypists(change.user_ids, end)

    def _forget(self, change: PeerTyping) -> None:
        # The other site would have told by now that they go on, or do not.
        self._in_background(self._commit(PeerTyping(change.room_id, change.log, ())))

    async def _commit(self, change: PeerTyping) -> None:
        await self._committer.commit(change)

    def _follow_memberships(self, change: StoreEvent) -> None:
        room = self._rooms.get(change.room_id)
        for membership in change.memberships:
            if room is not None and membership.membership != "join" and membership.user_id in room.timers:
                self._in_background(self._end(change.room_id, membership.user_id))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        start(work, lambda failure: logger.error("Could not tell who is typing: %s", failure.value))
