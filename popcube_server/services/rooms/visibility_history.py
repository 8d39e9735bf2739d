"""What a room's history visibility was along its timeline."""

from bisect import bisect_right
from collections.abc import Sequence

from federation.rooms.live_rooms import LiveRooms
from federation.rooms.stored_event import StoredEvent, from_row
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.rooms.membership_history import place_in_chain
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.event_rows import EventsRepository
from storage.events import StoreEvent
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass

HISTORY_VISIBILITY = "m.room.history_visibility"
VISIBILITIES = ("world_readable", "shared", "invited", "joined")
"""From the most open to the strictest."""

MAX_STEPS = 256
CACHE_SIZE = 5_000


def visibility_of(content: object) -> str:
    """What the content of m.room.history_visibility says; `shared` if it says nothing that is known."""
    value = content.get("history_visibility") if isinstance(content, dict) else None
    return value if isinstance(value, str) and value in VISIBILITIES else "shared"


@dataclass(frozen=True, slots=True)
class VisibilityHistory:
    """The room's m.room.history_visibility events by place in the timeline, oldest first."""

    orderings: tuple[int, ...]
    values: tuple[str, ...]
    before_first: str = "shared"

    def at(self, ordering: int) -> str:
        """The visibility right behind this place."""
        index = bisect_right(self.orderings, ordering)
        return self.values[index - 1] if index else self.before_first

    def before(self, ordering: int) -> str:
        """The visibility right before this place."""
        return self.at(ordering - 1)

    @property
    def now(self) -> str:
        """The visibility at the timeline's end."""
        return self.values[-1] if self.values else self.before_first

    @property
    def is_always_open_to_members(self) -> bool:
        """Whether everybody in the room may see everything that ever was in it."""
        return all(value in ("world_readable", "shared") for value in (*self.values, self.before_first))


class VisibilityHistories:
    """A bounded cache of histories, kept true by following the log."""

    def __init__(self, database: Database, repository: EventsRepository, rooms: LiveRooms, log: Log) -> None:
        self._database = database
        self._repository = repository
        self._rooms = rooms
        self._log = log
        self._cache: BoundedCache[str, VisibilityHistory] = BoundedCache(CACHE_SIZE)
        log.follow(self._follow)

    def find_cached(self, room_id: str) -> VisibilityHistory | None:
        return self._cache.get(room_id)

    async def of(self, room_id: str) -> VisibilityHistory:
        """Raises `UnknownRoom`."""
        cached = self._cache.get(room_id)
        if cached is not None:
            return cached
        while True:
            room = await self._rooms.get(room_id)
            newest = room.committed.find(HISTORY_VISIBILITY)
            if newest is None:
                history = VisibilityHistory((), ())
            else:
                event_id: str = newest
                history = await self._database.read(lambda tx, event_id=event_id: self._read(tx, event_id))  # type: ignore[misc]
            if (await self._rooms.get(room_id)).committed.find(HISTORY_VISIBILITY) == newest:
                self._cache.put(room_id, history)
                return history

    def _read(self, tx: Transaction, event_id: str) -> VisibilityHistory:
        steps: list[tuple[int, StoredEvent]] = []
        found = self._repository.get_by_id(tx, (event_id,))
        while found and len(steps) < MAX_STEPS:
            stored = from_row(found[0])
            steps.append((place_in_chain(stored, steps[-1][0] if steps else None), stored))
            found = [] if stored.replaces is None else self._repository.get_by_id(tx, (stored.replaces,))
        steps.sort(key=lambda step: step[0])
        # Of a room that changed its mind too often to be followed to the beginning, the oldest is told to nobody new.
        return VisibilityHistory(
            tuple(ordering for ordering, _ in steps),
            tuple(visibility_of(step.event.content) for _, step in steps),
            "joined" if found else "shared",
        )

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            change = entry.change
            if not isinstance(change, StoreEvent) or self._cache.peek(change.room_id) is None:
                continue
            # A redacted event keeps its visibility in all room versions, so redactions do not matter.
            if change.new_state is not None and _touches(change):
                self._cache.drop(change.room_id)


def _touches(change: StoreEvent) -> bool:
    assert change.new_state is not None
    entries = (*change.new_state.changes, *change.new_state.current_changes)
    return any(event_type == HISTORY_VISIBILITY and state_key == "" for event_type, state_key, _ in entries)
