"""The event nearest to a time. Source: client-server API, `timestamp_to_event`."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from federation.rooms.event_store import EventStore
from federation.rooms.history.jump_to_time import JumpToTime
from federation.rooms.history.room_holes import RoomHoles
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import LimitExceeded, NotFound
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.visibility import Visibility
from storage.database import Database
from storage.event_rows import EventsRepository
from storage.events import MAX_TIME_MS
from synapse_like_config.lazy_dataclasses import dataclass

BATCH = 100
WAIT_S = 15.0
"""For other servers."""
MAX_EXAMINED = 2_000
"""So many events that the user may not see are passed over in search of one that they may."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where the room's timeline has holes, and who may know what belongs there."""

    holes: RoomHoles
    servers: JumpToTime


class EventAtTime:
    def __init__(
        self,
        views: RoomViews,
        database: Database,
        repository: EventsRepository,
        events: EventStore,
        visibility: Visibility,
        elsewhere: Elsewhere,
        limiter: RateLimiter,
        clock: Any,
    ) -> None:
        """`clock` is twisted's IReactorTime."""
        self._views = views
        self._database = database
        self._repository = repository
        self._events = events
        self._visibility = visibility
        self._holes = elsewhere.holes
        self._elsewhere = elsewhere.servers
        self._limiter = limiter
        self._clock = clock

    async def find(self, requester: Requester, room_id: str, at_ms: int, is_backward: bool) -> StoredEvent:
        """The closest event that is not before (or not after) a time. Raises `NotAllowed`, `NotFound`."""
        await self._views.of(requester.user_id, room_id)
        found = await self._find_here(requester, room_id, at_ms, is_backward)
        known_ms = None if found is None else found.event.origin_server_ts
        if await self._may_be_elsewhere(room_id, at_ms, is_backward, known_ms):
            # "If the local server doesn't have all of the room history and doesn't have an event suitably close to the
            # requested timestamp, it can use the corresponding federation endpoint to ask other servers".
            found = await self._find_elsewhere(requester, room_id, at_ms, is_backward, known_ms) or found
        if found is None:
            raise NotFound("There is no event at that time.")
        return found

    async def _may_be_elsewhere(
        self, room_id: str, at_ms: int, is_backward: bool, known_ms: int | None
    ) -> bool:
        """Whether something nearer may lie in a hole: what is in one was sent before the events above it."""
        gaps = [event_id for hole in await self._holes.of(room_id) for event_id in hole.gaps]
        if not gaps or known_ms == at_ms:
            return False
        latest_ms = max(
            (each.event.origin_server_ts for each in (await self._events.get_many(gaps)).values()), default=0
        )
        least_ms = known_ms if is_backward else at_ms
        return least_ms is None or latest_ms >= least_ms

    async def _find_elsewhere(
        self, requester: Requester, room_id: str, at_ms: int, is_backward: bool, known_ms: int | None
    ) -> StoredEvent | None:
        try:
            self._limiter.spend(requester.user_id)
        except LimitExceeded:
            return None
        asking = Deferred.fromCoroutine(self._elsewhere.find(room_id, max(at_ms, 0), is_backward, known_ms))
        try:
            event_id = await asking.addTimeout(WAIT_S, self._clock)
        except DeferredTimeout:
            return None
        stored = None if event_id is None else await self._events.find(event_id)
        if stored is None or stored.flags or not await self._visibility.is_visible(requester.user_id, stored):
            return None
        # Whatever the other server said of its time.
        event_ms = stored.event.origin_server_ts
        is_there = event_ms <= at_ms if is_backward else event_ms >= at_ms
        return stored if is_there else None

    async def _find_here(
        self, requester: Requester, room_id: str, at_ms: int, is_backward: bool
    ) -> StoredEvent | None:
        read = self._repository.get_upto_time if is_backward else self._repository.get_from_time
        at_ms = max(-MAX_TIME_MS, min(at_ms, MAX_TIME_MS))
        for skipped in range(0, MAX_EXAMINED, BATCH):
            rows = await self._database.read(
                lambda tx, skipped=skipped: read(tx, room_id, at_ms, BATCH, skipped)  # type: ignore[misc]
            )
            seen = await self._visibility.visible(requester.user_id, self._events.keep(rows))
            if seen:
                return seen[0]
            if len(rows) < BATCH:
                break
        return None
