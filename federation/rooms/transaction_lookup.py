"""Events for decisions, read as they are needed within one transaction, on a database thread."""

from collections.abc import Iterable

from federation.room_dag.event import Event
from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from storage.database import Transaction
from storage.events import REJECTED

MAX_MEMORY = 20_000


class RuleEvents:
    """State events that resolutions looked at, whoever asks next: bounded, shared by threads.

    Of an event only what redaction keeps is used, so that it stays true. Whether it was rejected can change once: when
    what was outside of the timeline gets its place in it. Then it is forgotten.
    """

    def __init__(self, size: int = MAX_MEMORY) -> None:
        self._size = size
        self._events: dict[str, tuple[Event, bool]] = {}
        self.forgotten = 0
        """Counts up: what was read before must not be kept after."""

    def __len__(self) -> int:
        return len(self._events)

    def find(self, event_id: str) -> tuple[Event, bool] | None:
        """The event, and whether it was rejected."""
        return self._events.get(event_id)

    def keep(self, stored: StoredEvent) -> None:
        if not stored.event.is_state:
            return
        if len(self._events) >= self._size:
            self._events = {}
        self._events[stored.event.event_id] = (stored.event, bool(stored.flags & REJECTED))

    def forget(self, event_id: str) -> None:
        self.forgotten += 1
        self._events.pop(event_id, None)


class TransactionLookup:
    """What one decision has read. Nothing of it is kept but in `RuleEvents`."""

    def __init__(self, tx: Transaction, store: EventStore, memory: RuleEvents | None = None) -> None:
        self.tx = tx
        self._store = store
        memory = RuleEvents() if memory is None else memory
        self._memory = memory
        # Before anything is read: a transaction sees the database as it is at its first read.
        self._forgotten = memory.forgotten
        self._events: dict[str, Event] = {}
        self.rejected: set[str] = set()

    def get(self, event_id: str, /) -> Event:
        """Raises KeyError for an event that this server does not have."""
        event = self._events.get(event_id)
        if event is None:
            self.prepare((event_id,))
            event = self._events[event_id]
        return event

    def add(self, event: Event) -> None:
        """Know an event that is not stored yet."""
        self._events[event.event_id] = event

    def prepare(self, event_ids: Iterable[str]) -> None:
        """Read several at once, so that `get` finds them."""
        missing = []
        for event_id in event_ids:
            if event_id in self._events:
                continue
            remembered = self._memory.find(event_id)
            if remembered is None:
                missing.append(event_id)
            else:
                self._events[event_id] = remembered[0]
                if remembered[1]:
                    self.rejected.add(event_id)
        if missing:
            for stored in self.load(missing).values():
                if self._memory.forgotten == self._forgotten:
                    self._memory.keep(stored)

    def load(self, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        """Read several at once, as they are stored now."""
        found = self._store.get_many_within(self.tx, event_ids)
        for event_id, stored in found.items():
            self._events[event_id] = stored.event
            if stored.flags & REJECTED:
                self.rejected.add(event_id)
        return found
