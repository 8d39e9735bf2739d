"""Events by ID: those used last in memory, the others from the database."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from federation.rooms.stored_event import StoredEvent, from_row
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.event_rows import EventRow, EventsRepository
from storage.events import ORDERING_STEP, OUTLIER, StoreEvent
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass

RECENT_REDACTIONS = 10_000
"""More than can be committed while one read is under way."""


@dataclass(slots=True, eq=False)
class _Looked:
    """Events that somebody asks for, or has asked for and that were not there; those that come are taken out."""

    absent: set[str]
    is_known: bool = False


class EventStore:
    """A bounded cache of committed events, kept true by following the log."""

    def __init__(self, database: Database, repository: EventsRepository, log: Log, size: int) -> None:
        self._database = database
        self._repository = repository
        self._size = size
        self._events: OrderedDict[str, StoredEvent] = OrderedDict()
        self._redactions: OrderedDict[str, str] = OrderedDict()
        """Of events redacted lately, by what: one that is put in may have been read, or committed, before that."""
        self._looked: list[_Looked] = []
        self.hits = 0
        self.misses = 0
        log.follow(self._follow)

    def __len__(self) -> int:
        return len(self._events)

    def find_cached(self, event_id: str) -> StoredEvent | None:
        """The event if it is in memory."""
        stored = self._events.get(event_id)
        if stored is None:
            self.misses += 1
            return None
        self.hits += 1
        self._events.move_to_end(event_id)
        return stored

    async def find(self, event_id: str) -> StoredEvent | None:
        """The event, or None if this server does not have it."""
        return (await self.get_many((event_id,))).get(event_id)

    async def get_many(self, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        """Those of the events that this server has, by ID."""
        found: dict[str, StoredEvent] = {}
        missing: list[str] = []
        for event_id in event_ids:
            stored = self.find_cached(event_id)
            if stored is not None:
                found[event_id] = stored
            elif not self._is_absent(event_id):
                missing.append(event_id)
        if missing:
            rows = await self._database.read(lambda tx: self._repository.get_by_id(tx, missing))
            found.update((stored.event.event_id, stored) for stored in self.keep(rows))
        return found

    @asynccontextmanager
    async def looked_up(self, event_ids: Iterable[str]) -> AsyncIterator[None]:
        """Look for these events with one read: within the block nobody asks the database again for what is not here."""
        looked = _Looked({event_id for event_id in event_ids if event_id not in self._events})
        self._looked.append(looked)
        try:
            if looked.absent:
                wanted = list(looked.absent)
                rows = await self._database.read(lambda tx: self._repository.get_by_id(tx, wanted))
                # Those that came while the database was read are out already.
                looked.absent.difference_update(stored.event.event_id for stored in self.keep(rows))
            looked.is_known = True
            yield
        finally:
            self._looked.remove(looked)

    def _is_absent(self, event_id: str) -> bool:
        return any(looked.is_known and event_id in looked.absent for looked in self._looked)

    async def read_ahead(self, room_id: str, event_ids: Iterable[str], limit: int) -> None:
        """Get into memory what is before these events in the room's timeline: who walks the graph mostly needs it."""
        found = await self.get_many(event_ids)
        upto = max((each.ordering for each in found.values() if each.event.room_id == room_id), default=None)
        if upto is not None and limit > 1:
            rows = await self._database.read(
                lambda tx: self._repository.get_backward(tx, room_id, -(2**62), upto, limit)
            )
            self.keep(rows)

    def get_many_within(self, tx: Transaction, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        """As `get_many`, on a database thread within a reading transaction. Does not touch the cache."""
        found: dict[str, StoredEvent] = {}
        missing: list[str] = []
        for event_id in event_ids:
            stored = self._events.get(event_id)
            if stored is None:
                missing.append(event_id)
            else:
                found[event_id] = stored
        found.update((row.event_id, from_row(row)) for row in self._repository.get_by_id(tx, missing))
        return found

    def keep(self, rows: Sequence[EventRow]) -> list[StoredEvent]:
        """The events of rows that were read, remembered; in the same order. Call on the reactor's thread."""
        events = []
        for row in rows:
            stored = self._events.get(row.event_id)
            # What was read while it was an outlier may have been put in after it got its place in the room.
            if stored is None or (stored.flags & OUTLIER and not row.flags & OUTLIER):
                stored = self._put(from_row(row))
            events.append(stored)
        return events

    def put_committed(self, stored: StoredEvent) -> None:
        """Remember an event that was just committed."""
        self._put(stored)

    def _put(self, stored: StoredEvent) -> StoredEvent:
        redaction = self._redactions.get(stored.event.event_id)
        if redaction is not None and stored.redacted_by is None:
            stored = stored.redacted(redaction)
        self._events[stored.event.event_id] = stored
        if len(self._events) > self._size:
            self._events.popitem(last=False)
        return stored

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            change = entry.change
            if isinstance(change, StoreEvent):
                for looked in self._looked:
                    looked.absent.discard(change.event_id)
            if isinstance(change, StoreEvent) and change.outlier_nid is not None:
                # If it is part of a live room, the room puts it in again as it is now.
                self._events.pop(change.event_id, None)
            if isinstance(change, StoreEvent) and change.redacted_by is not None:
                self._redactions.setdefault(change.event_id, change.redacted_by)
            if isinstance(change, StoreEvent) and change.redacts is not None:
                # The first redaction of an event is the one that counts.
                self._redactions.setdefault(change.redacts, change.event_id)
                if len(self._redactions) > RECENT_REDACTIONS:
                    self._redactions.popitem(last=False)
                target = self._events.get(change.redacts)
                if target is not None and target.redacted_by is None:
                    self._events[change.redacts] = target.redacted(change.event_id)


def live_ordering(position: int) -> int:
    """The place in the timeline of an event that was stored as it happened."""
    return position * ORDERING_STEP
