"""The ends of rooms' timelines, in memory: which events came last. The events themselves are in the event store."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.database import Database
from storage.event_rows import EventRow, EventsRepository
from storage.events import StoreEvent
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass

KEPT = 30
"""Events per room that stay in memory; twice as many for a moment."""


@dataclass(slots=True)
class _Tail:
    """All events of a timeline after an ordering, oldest first."""

    after: int
    orderings: list[int]
    event_ids: list[str]

    def append(self, ordering: int, event_id: str) -> None:
        self.orderings.append(ordering)
        self.event_ids.append(event_id)
        if len(self.orderings) > 2 * KEPT:
            self.after = self.orderings[-KEPT - 1]
            del self.orderings[:-KEPT], self.event_ids[:-KEPT]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbours in a timeline, oldest first."""

    events: Sequence[StoredEvent]
    is_whole: bool
    """Whether these are all that there are in the range that was asked for."""


class RecentEvents:
    """A bounded cache of the ends of timelines, kept true by following the log."""

    def __init__(
        self, database: Database, repository: EventsRepository, events: EventStore, log: Log, size: int
    ) -> None:
        self._database = database
        self._repository = repository
        self._events = events
        self._log = log
        self._tails: BoundedCache[str, _Tail] = BoundedCache(size)
        log.follow(self._follow)

    async def load(self, room_ids: Iterable[str]) -> None:
        """Get the ends of several timelines into memory with one read."""
        missing = [room_id for room_id in room_ids if self._tails.get(room_id) is None]
        if not missing:
            return
        position = self._log.position
        upto = live_ordering(position)
        read = await self._database.read(lambda tx: self._repository.get_ends(tx, missing, upto, KEPT + 1))
        since = self._log.since(position)
        if since is None:
            return
        moved = {entry.key[0] for entry in since if entry.kind == "event"}
        for room_id, rows in read.items():
            # A room that went on meanwhile is left for the next time.
            if room_id not in moved and rows:
                self._tails.put(room_id, _make_tail(rows))
                self._events.keep(rows)

    async def newest(self, room_id: str, after: int, upto: int, limit: int) -> Stretch:
        """The last `limit` events of a room with `after` < ordering <= `upto`."""
        tail = self._tails.get(room_id)
        if tail is not None:
            first = bisect_right(tail.orderings, after)
            end = bisect_right(tail.orderings, upto)
            # `tail.after` is an event's place: if it lies in the range, that event is left out.
            if tail.after <= after or end >= limit:
                begin = max(first, end - limit)
                events = await self.get_all(tail.event_ids[begin:end])
                return Stretch(events, begin == first and tail.after <= after)
        rows = await self._database.read(
            lambda tx: self._repository.get_backward(tx, room_id, after, upto, limit + 1)
        )
        events = self._events.keep(rows[:limit])
        return Stretch(events[::-1], len(rows) <= limit)

    async def get_all(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        """Events by ID, in order; without a pause if they are in memory."""
        found = [self._events.find_cached(event_id) for event_id in event_ids]
        if all(found):
            return [stored for stored in found if stored is not None]
        read = await self._events.get_many(event_ids)
        return [read[event_id] for event_id in event_ids if event_id in read]

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind != "event":
                continue
            tail = self._tails.peek(entry.key[0])
            if tail is None:
                continue
            change = entry.change
            if not isinstance(change, StoreEvent):
                self._tails.drop(entry.key[0])
            elif change.ordering is None:
                if change.flags == 0:
                    tail.append(live_ordering(entry.position), change.event_id)
            elif change.ordering > tail.after:
                # History found later, between what is in memory.
                self._tails.drop(change.room_id)


def _make_tail(rows: Sequence[EventRow]) -> _Tail:
    kept = rows[:KEPT][::-1]
    # With fewer rows than asked for, the timeline begins here.
    after = rows[KEPT].ordering if len(rows) > KEPT else -(2**62)
    return _Tail(after, [row.ordering for row in kept], [row.event_id for row in kept])
