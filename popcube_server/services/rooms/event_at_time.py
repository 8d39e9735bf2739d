"""The event nearest to a time. Source: client-server API, `timestamp_to_event`."""

from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import NotFound
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.visibility import Visibility
from storage.database import Database
from storage.events import MAX_TIME_MS, EventsRepository

BATCH = 100
MAX_EXAMINED = 2_000
"""So many events that the user may not see are passed over in search of one that they may."""


class EventAtTime:
    def __init__(
        self,
        views: RoomViews,
        database: Database,
        repository: EventsRepository,
        events: EventStore,
        visibility: Visibility,
    ) -> None:
        self._views = views
        self._database = database
        self._repository = repository
        self._events = events
        self._visibility = visibility

    async def find(self, requester: Requester, room_id: str, at_ms: int, is_backward: bool) -> StoredEvent:
        """The closest event that is not before (or not after) a time. Raises `NotAllowed`, `NotFound`."""
        await self._views.of(requester.user_id, room_id)
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
        raise NotFound("There is no event at that time.")
