"""What a user's membership in a room was, and when it became so, along the room's timeline."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from federation.rooms.event_store import live_ordering
from federation.rooms.stored_event import StoredEvent, from_row
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.event_rows import EventRow, EventsRepository
from storage.events import StoreEvent
from storage.log import Log
from storage.memberships import MembershipRow
from synapse_like_config.lazy_dataclasses import dataclass

MAX_STEPS = 64
"""How many member events are followed backwards. Before the oldest of them, nothing is said to be known."""
CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class MembershipHistory:
    """The user's member events by place in the timeline, oldest first."""

    orderings: tuple[int, ...] = ()
    memberships: tuple[str, ...] = ()

    def at(self, ordering: int) -> str | None:
        """The membership right behind this place; None if there was none yet."""
        index = bisect_right(self.orderings, ordering)
        return self.memberships[index - 1] if index else None

    def joined_since(self, ordering: int) -> int | None:
        """Where the user came in for the stay that lasts at this place; None if they are not in the room there."""
        index = bisect_right(self.orderings, ordering) - 1
        if index < 0 or self.memberships[index] != "join":
            return None
        while index > 0 and self.memberships[index - 1] == "join":
            index -= 1
        return self.orderings[index]

    def left_at(self, ordering: int) -> int | None:
        """Where the user went out for the last time before this place; None if they were never in the room."""
        for index in range(bisect_right(self.orderings, ordering) - 1, 0, -1):
            if self.memberships[index] != "join" and self.memberships[index - 1] == "join":
                return self.orderings[index]
        return None

    def is_joined_throughout(self, after: int, upto: int) -> bool:
        """Whether the user was in the room at the first place and never out of it until the second."""
        if self.at(after) != "join":
            return False
        begin, end = bisect_right(self.orderings, after), bisect_right(self.orderings, upto)
        return all(membership == "join" for membership in self.memberships[begin:end])

    def appended(self, ordering: int, membership: str) -> "MembershipHistory":
        return MembershipHistory((*self.orderings, ordering), (*self.memberships, membership))


_NONE = MembershipHistory()


def place_in_chain(stored: StoredEvent, newer: int | None) -> int:
    """The place of an event that was replaced by one at `newer`: somewhere before that.

    The ordering of what is no part of the timeline, or came late, only says when it was stored.
    """
    return stored.ordering if newer is None else min(stored.ordering, newer - 1)


class MembershipHistories:
    """A bounded cache of histories, kept true by following the log."""

    def __init__(
        self,
        database: Database,
        repository: EventsRepository,
        user_rooms: UserRooms,
        log: Log,
    ) -> None:
        self._database = database
        self._repository = repository
        self._user_rooms = user_rooms
        self._cache: BoundedCache[tuple[str, str], MembershipHistory] = BoundedCache(CACHE_SIZE)
        log.follow(self._follow)

    async def of(self, user_id: str, room_id: str) -> MembershipHistory:
        """The user's history in the room; empty if the user never had to do with it."""
        cached = self._cache.get((user_id, room_id))
        return cached if cached is not None else (await self.of_many(user_id, (room_id,)))[room_id]

    async def of_many(self, user_id: str, room_ids: Iterable[str]) -> dict[str, MembershipHistory]:
        """The user's histories in several rooms, with one read."""
        found: dict[str, MembershipHistory] = {}
        missing: list[str] = []
        for room_id in room_ids:
            cached = self._cache.get((user_id, room_id))
            if cached is None:
                missing.append(room_id)
            else:
                found[room_id] = cached
        while missing:
            rooms = await self._user_rooms.of_user(user_id)
            rows = {room_id: row for room_id in missing if (row := rooms.get(room_id)) is not None}
            read = await self._read_many(rows)
            # Where the membership moved while we read, what we read may be neither the old nor the new.
            rooms = await self._user_rooms.of_user(user_id)
            unmoved = {
                room_id: history for room_id, history in read.items() if rooms.get(room_id) == rows[room_id]
            }
            for room_id, history in unmoved.items():
                self._cache.put((user_id, room_id), history)
            found.update(unmoved)
            found.update((room_id, _NONE) for room_id in missing if room_id not in rooms)
            missing = [room_id for room_id in missing if room_id not in found]
        return found

    async def _read_many(self, rows: Mapping[str, MembershipRow]) -> dict[str, MembershipHistory]:
        if not rows:
            return {}

        def read(tx: Transaction) -> dict[str, MembershipHistory]:
            # Most histories are one event: all of these with one statement.
            wanted = [row.event_nid for row in rows.values()]
            newest = {event.nid: event for event in self._repository.get_by_nid(tx, wanted)}
            return {room_id: self._read(tx, row, newest.get(row.event_nid)) for room_id, row in rows.items()}

        return await self._database.read(read)

    def _read(self, tx: Transaction, row: MembershipRow, newest: EventRow | None) -> MembershipHistory:
        steps: list[tuple[int, str]] = []
        found = [] if newest is None else [newest]
        while found and len(steps) < MAX_STEPS:
            stored = from_row(found[0])
            place = place_in_chain(stored, steps[-1][0] if steps else None)
            steps.append((place, stored.event.membership or "leave"))
            found = [] if stored.replaces is None else self._repository.get_by_id(tx, (stored.replaces,))
        steps.sort()
        if row.event_nid != row.position:
            # State resolution set the entry to an event that was there before.
            steps = [step for step in steps if step[0] < live_ordering(row.position)]
            steps.append((live_ordering(row.position), row.membership))
        return MembershipHistory(tuple(step[0] for step in steps), tuple(step[1] for step in steps))

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            change = entry.change
            if not isinstance(change, StoreEvent):
                continue
            if (
                change.ordering is not None
                and change.type == "m.room.member"
                and change.state_key is not None
            ):
                # Of history that was found, more of the chain may have its place now.
                self._cache.drop((change.state_key, change.room_id))
            for membership in change.memberships:
                key = (membership.user_id, change.room_id)
                cached = self._cache.peek(key)
                if cached is not None:
                    step = (live_ordering(entry.position), membership.membership)
                    self._cache.put(key, cached.appended(*step))
