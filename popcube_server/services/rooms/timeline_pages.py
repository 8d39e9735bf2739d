"""Pages of a room's timeline, as one user sees it: the events that they may see and want."""

from collections.abc import Callable, Sequence

from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.account_data.personal_rules import PersonalRules
from popcube_server.services.filters.event_filter import RoomEventFilter
from popcube_server.services.rooms.visibility import Visibility
from storage.database import Database, Transaction
from storage.event_rows import EventRow, EventsRepository
from storage.log import Log
from storage.relations import RelationsRepository
from synapse_like_config.lazy_dataclasses import dataclass

MIN_BATCH = 50
MAX_BATCH = 400
MAX_EXAMINED = 4_000
"""After so many events that the user may not see or does not want, a page ends as short as it is."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a timeline to read: after < ordering <= upto."""

    after: int
    upto: int


Fetch = Callable[[Transaction, Span, int], list[EventRow]]
"""The first so many events of a span in the order of reading."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the order of reading."""

    events: Sequence[StoredEvent]
    next: int | None
    """Where to go on: a place as in `PaginationToken`; None at the edge."""


class TimelinePages:
    def __init__(
        self,
        database: Database,
        repository: EventsRepository,
        relations: RelationsRepository,
        events: EventStore,
        visibility: Visibility,
        personal: PersonalRules,
        log: Log,
    ) -> None:
        self._database = database
        self._repository = repository
        self._relations = relations
        self._events = events
        self._visibility = visibility
        self._personal = personal
        self._log = log

    @property
    def end(self) -> int:
        """The place behind everything that is committed."""
        return live_ordering(self._log.position)

    async def backward(
        self, user_id: str, room_id: str, span: Span, limit: int, wanted: RoomEventFilter
    ) -> Page:
        """The last `limit` events of a span, newest first."""
        way = Backward(
            room_id,
            lambda tx, span, limit: self._repository.get_backward(tx, room_id, span.after, span.upto, limit),
        )
        return await self.walk(way, user_id, span, limit, wanted)

    async def forward(
        self, user_id: str, room_id: str, span: Span, limit: int, wanted: RoomEventFilter
    ) -> Page:
        """The first `limit` events of a span, oldest first."""
        way = Forward(
            room_id,
            lambda tx, span, limit: self._repository.get_forward(tx, room_id, span.after, span.upto, limit),
        )
        return await self.walk(way, user_id, span, limit, wanted)

    async def walk(
        self, way: "Backward | Forward", user_id: str, span: Span, limit: int, wanted: RoomEventFilter
    ) -> Page:
        """A page of whatever events of a room the way leads along."""
        stretch = await self._visibility.stretch(user_id, way.room_id)
        if stretch is None or not wanted.matches_room(way.room_id):
            return Page((), None)
        span = Span(max(span.after, stretch.first - 1), min(span.upto, stretch.last, self.end))
        if limit == 0:
            return Page((), way.start(span))
        found: list[StoredEvent] = []
        examined = 0
        while span.after < span.upto:
            missing = limit - len(found)
            size = min(MAX_BATCH, missing if wanted.is_unrestricted else max(MIN_BATCH, 2 * missing))
            # One more tells whether there is more to come.
            rows = await self._database.read(
                lambda tx, span=span, size=size: way.fetch(tx, span, size + 1)  # type: ignore[misc]
            )
            batch = self._events.keep(rows[:size])
            seen = await self._select(user_id, batch, wanted)
            if len(seen) > missing:
                del seen[missing:]
                return Page(found + seen, way.behind(seen[-1]))
            found += seen
            if len(rows) <= size:
                break
            examined += size
            if len(found) == limit or examined >= MAX_EXAMINED:
                return Page(found, way.behind(batch[-1]))
            span = way.rest(span, batch[-1])
        return Page(found, None)

    async def _select(
        self, user_id: str, events: Sequence[StoredEvent], wanted: RoomEventFilter
    ) -> list[StoredEvent]:
        seen = await self._visibility.visible(user_id, events)
        ignored = await self._personal.ignored(user_id)
        if ignored:
            # "the client will no longer receive events sent by that user, with the exception of state events."
            seen = [
                stored
                for stored in seen
                if stored.event.sender not in ignored or stored.event.state_key is not None
            ]
        if wanted.is_unrestricted:
            return seen
        seen = [stored for stored in seen if wanted.matches(stored.event)]
        if seen and wanted.has_relation_filters:
            parents = [stored.event.event_id for stored in seen]
            related = await self._database.read(
                lambda tx: self._relations.find_related(
                    tx, parents, wanted.related_by_senders, wanted.related_by_rel_types
                )
            )
            seen = [stored for stored in seen if stored.event.event_id in related]
        return seen


class Backward:
    """Newest first; a place is behind the events that come next."""

    def __init__(self, room_id: str, fetch: Fetch) -> None:
        self.room_id = room_id
        self.fetch = fetch

    def start(self, span: Span) -> int:
        return span.upto

    def behind(self, last: StoredEvent) -> int:
        return last.ordering - 1

    def rest(self, span: Span, last: StoredEvent) -> Span:
        return Span(span.after, last.ordering - 1)


class Forward:
    """Oldest first; a place is behind the events that were read."""

    def __init__(self, room_id: str, fetch: Fetch) -> None:
        self.room_id = room_id
        self.fetch = fetch

    def start(self, span: Span) -> int:
        return span.after

    def behind(self, last: StoredEvent) -> int:
        return last.ordering

    def rest(self, span: Span, last: StoredEvent) -> Span:
        return Span(last.ordering, span.upto)
