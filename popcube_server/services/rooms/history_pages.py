"""Pages of a room's timeline that reach into what only other servers have.

Where a page comes to a hole in the timeline, the hole is filled first, as far as one request may take. If others do not
have it, or do not answer in time, the page ends there; asked again from there, it goes on behind the hole with what is
here, so that nobody is kept from older events by a server that is gone.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from federation.rooms.history.backfill import Filled
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.filters.event_filter import RoomEventFilter
from popcube_server.services.rooms.timeline_pages import Page, Span, TimelinePages
from popcube_server.services.rooms.visibility import Visibility
from storage.gaps import Hole

MAX_FILLS = 10
"""For one page: of hidden history, or of what nobody wants, a page may be empty after these."""
WAIT_S = 10.0
"""For all of them together."""


class Filler(Protocol):
    """`federation.rooms.history.backfill.Backfill`."""

    async def fill(self, room_id: str, place: int) -> Filled: ...


class HistoryPages:
    """As `TimelinePages`, over everything that the room's servers have."""

    def __init__(
        self, pages: TimelinePages, holes: RoomHoles, filler: Filler, visibility: Visibility, clock: Any
    ) -> None:
        """`clock` is twisted's IReactorTime."""
        self._pages = pages
        self._holes = holes
        self._filler = filler
        self._visibility = visibility
        self._clock = clock

    @property
    def end(self) -> int:
        """The place behind everything that is committed."""
        return self._pages.end

    async def backward(
        self, user_id: str, room_id: str, span: Span, limit: int, wanted: RoomEventFilter
    ) -> Page:
        """The last `limit` events of a span, newest first."""
        seen = await self._seen(user_id, room_id, span)
        if seen is None or limit == 0 or not wanted.matches_room(room_id):
            return await self._pages.backward(user_id, room_id, span, limit, wanted)
        work = _Work(self._filler, room_id, self._clock)
        found: list[StoredEvent] = []
        upto = seen.upto
        # Where others did not answer, the way back into the hole; used if there is nothing behind it.
        way_back: int | None = None
        while True:
            hole = _hole_below(await self._holes.of(room_id), upto, seen.after, work.passed)
            lower = span.after if hole is None else max(span.after, hole.place - 1)
            page = await self._pages.backward(user_id, room_id, Span(lower, upto), limit - len(found), wanted)
            found += page.events
            if page.next is not None:
                return Page(found, page.next)
            if hole is None:
                return Page(found, None if found else way_back)
            if len(found) == limit:
                return Page(found, hole.place - 1)
            outcome = await work.fill(hole)
            upto = hole.place - 1
            if outcome is Filled.MORE and not work.is_over:
                continue
            if found or outcome is Filled.MORE:
                return Page(found, upto)
            if outcome is Filled.UNREACHABLE and way_back is None:
                # Both places lie in the hole: clients take the same token twice for the end.
                way_back = upto if span.upto != upto else upto - 1

    async def forward(
        self, user_id: str, room_id: str, span: Span, limit: int, wanted: RoomEventFilter
    ) -> Page:
        """The first `limit` events of a span, oldest first."""
        seen = await self._seen(user_id, room_id, span)
        if seen is None or limit == 0 or not wanted.matches_room(room_id):
            return await self._pages.forward(user_id, room_id, span, limit, wanted)
        work = _Work(self._filler, room_id, self._clock)
        found: list[StoredEvent] = []
        after = seen.after
        while True:
            hole = _hole_above(await self._holes.of(room_id), after, seen.upto, work.passed)
            upper = span.upto if hole is None else min(span.upto, hole.place - 1)
            page = await self._pages.forward(user_id, room_id, Span(after, upper), limit - len(found), wanted)
            found += page.events
            if page.next is not None or hole is None:
                return Page(found, page.next)
            if len(found) == limit:
                return Page(found, found[-1].ordering)
            # What is below a hole comes before what is in it: until it is closed, its lowest event is not known.
            outcome = await work.fill(hole)
            after = found[-1].ordering if found else after
            if outcome is Filled.MORE and not work.is_over:
                continue
            if found:
                return Page(found, after)
            if outcome is Filled.MORE:
                # A place further on where nothing is: clients take the same token twice for the end.
                return Page((), min(after + 1, hole.place - 1))

    async def _seen(self, user_id: str, room_id: str, span: Span) -> Span | None:
        """The part of a span in which the user may see something."""
        if not await self._holes.of(room_id):
            return None
        stretch = await self._visibility.stretch(user_id, room_id)
        if stretch is None:
            return None
        return Span(max(span.after, stretch.first - 1), min(span.upto, stretch.last, self._pages.end))


class _Work:
    """What one request lets others do."""

    def __init__(self, filler: Filler, room_id: str, clock: Any) -> None:
        self._filler = filler
        self._room_id = room_id
        self._clock = clock
        self._deadline_s = clock.seconds() + WAIT_S
        self._fills = 0
        self.passed: set[int] = set()
        """Holes that nothing comes of now."""

    @property
    def is_over(self) -> bool:
        return self._fills >= MAX_FILLS or self._clock.seconds() >= self._deadline_s

    async def fill(self, hole: Hole) -> Filled:
        self._fills += 1
        left_s = self._deadline_s - self._clock.seconds()
        outcome = Filled.UNREACHABLE
        if left_s > 0:
            filling = Deferred.fromCoroutine(self._filler.fill(self._room_id, hole.place))
            try:
                outcome = await filling.addTimeout(left_s, self._clock)
            except DeferredTimeout:
                # It goes on, for the next who asks.
                outcome = Filled.UNREACHABLE
        if outcome is not Filled.MORE:
            self.passed.add(hole.place)
        return outcome


def _hole_below(holes: Sequence[Hole], upto: int, after: int, passed: set[int]) -> Hole | None:
    """The first hole on the way back from `upto`."""
    for hole in holes:
        # Right below a place there is never an event: see `place_history.free_places`.
        if after < hole.place - 1 and hole.place - 2 <= upto and hole.place not in passed:
            return hole
    return None


def _hole_above(holes: Sequence[Hole], after: int, upto: int, passed: set[int]) -> Hole | None:
    """The first hole on the way from `after`."""
    for hole in reversed(holes):
        if after < hole.place <= upto and hole.place not in passed:
            return hole
    return None
