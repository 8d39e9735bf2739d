"""In which rooms a user is: asked by every sync, so kept in memory and true by following the log."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from federation.rooms.live_rooms import LiveRooms
from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.database import Database
from storage.events import StoreEvent
from storage.log import Log
from storage.memberships import ForgetRoom, MembershipRow, MembershipsRepository
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Reading:
    """One reading of a user's memberships; stale once one of them changes meanwhile."""

    user_id: str
    is_stale: bool = False


class UserRooms:
    """Memberships by user, and members by room."""

    def __init__(
        self, database: Database, repository: MembershipsRepository, rooms: LiveRooms, log: Log, size: int
    ) -> None:
        self._database = database
        self._repository = repository
        self._rooms = rooms
        self._readings: dict[str, list[Reading]] = {}
        self._users: BoundedCache[str, dict[str, MembershipRow]] = BoundedCache(size)
        log.follow(self._follow)

    async def of_user(self, user_id: str) -> Mapping[str, MembershipRow]:
        """Every room that the user ever had a membership in, by room ID. Read only, and only until the next wait."""
        cached = self._users.get(user_id)
        if cached is not None:
            return cached
        while True:
            with self.reading(user_id) as reading:
                rows = await self._database.read(lambda tx: self._repository.get_of_user(tx, user_id))
            # A change that came in between may or may not be in what was read: read again rather than guess. What
            # others commit does not matter: on a busy server something always is.
            if not reading.is_stale:
                break
        cached = {row.room_id: row for row in rows}
        self._users.put(user_id, cached)
        return cached

    @contextmanager
    def reading(self, user_id: str) -> Iterator[Reading]:
        """For the time in which somebody reads a user's memberships."""
        reading = Reading(user_id)
        readings = self._readings.setdefault(user_id, [])
        readings.append(reading)
        try:
            yield reading
        finally:
            readings.remove(reading)
            if not readings:
                self._readings.pop(user_id, None)

    def note_no_rooms(self, reading: Reading) -> None:
        """Somebody who wanted something else of the database has seen that the user never had a membership.

        To be called as soon as the time of the reading is over, without a wait.
        """
        if not reading.is_stale:
            self._users.put(reading.user_id, {})

    def find_cached(self, user_id: str) -> Mapping[str, MembershipRow] | None:
        """As `of_user` if that is in memory."""
        return self._users.get(user_id)

    async def joined_rooms(self, user_id: str) -> list[str]:
        """IDs of the rooms that the user is in."""
        return [room_id for room_id, row in (await self.of_user(user_id)).items() if row.membership == "join"]

    async def joined_members(self, room_id: str) -> Collection[str]:
        """IDs of the users in a room; none if this server does not know it."""
        rooms = await self._rooms.get_many((room_id,))
        room = rooms.get(room_id)
        return [] if room is None else list(room.committed.joined_members())

    async def do_share_a_room(self, user_id: str, other_id: str) -> bool:
        """Whether both are joined to some room."""
        mine = await self.of_user(user_id)
        theirs = await self.of_user(other_id)
        if len(theirs) < len(mine):
            mine, theirs = theirs, mine
        return any(
            row.membership == "join" and room_id in theirs and theirs[room_id].membership == "join"
            for room_id, row in mine.items()
        )

    async def sharing(self, user_id: str, others: Iterable[str]) -> set[str]:
        """Those of the other users who are joined to some room that the user is joined to."""
        mine = frozenset(await self.joined_rooms(user_id))
        found: set[str] = set()
        for other_id in others:
            theirs = self._users.get(other_id)
            if theirs is None:
                theirs = dict(await self.of_user(other_id))
            if len(theirs) < len(mine):
                is_shared = any(
                    row.membership == "join" and room_id in mine for room_id, row in theirs.items()
                )
            else:
                is_shared = any(
                    room_id in theirs and theirs[room_id].membership == "join" for room_id in mine
                )
            if is_shared:
                found.add(other_id)
        return found

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            change = entry.change
            if isinstance(change, StoreEvent):
                self._move(change, entry.position)
            elif isinstance(change, ForgetRoom):
                self._spoil_readings(change.user_id)
                cached = self._users.peek(change.user_id)
                if cached is not None and change.room_id in cached:
                    cached[change.room_id] = replace(cached[change.room_id], forgotten=True)

    def _move(self, change: StoreEvent, position: int) -> None:
        for membership in change.memberships:
            self._spoil_readings(membership.user_id)
            cached = self._users.peek(membership.user_id)
            if cached is None:
                continue
            if membership.event_id != change.event_id:
                # An older event is in force again: only the database knows its number.
                self._users.drop(membership.user_id)
                continue
            nid = position if change.outlier_nid is None else change.outlier_nid
            cached[change.room_id] = MembershipRow(
                change.room_id, membership.user_id, membership.membership, nid, position, False
            )

    def _spoil_readings(self, user_id: str) -> None:
        for reading in self._readings.get(user_id, ()):
            reading.is_stale = True
