"""One event by its ID. Source: client-server API, `/rooms/{roomId}/event/{eventId}`."""

from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import NotFound
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import EventJson, EventStyle
from popcube_server.services.rooms.visibility import Visibility

BUNDLED_STYLE = EventStyle(has_aggregations=True)


class ReadEvent:
    def __init__(self, events: EventStore, visibility: Visibility, event_json: EventJson) -> None:
        self._events = events
        self._visibility = visibility
        self._event_json = event_json

    async def get(self, user_id: str, room_id: str, event_id: str) -> StoredEvent:
        """Raises `NotFound` for events that do not exist and for those that the user may not see, alike."""
        # No event ID holds U+0000, and not every database can be asked for one.
        stored = None if "\x00" in event_id else await self._events.find(event_id)
        if (
            stored is None
            or stored.flags
            or stored.event.room_id != room_id
            or not await self._visibility.is_visible(user_id, stored)
        ):
            raise NotFound("The event was not found.")
        return stored

    async def json(self, requester: Requester, room_id: str, event_id: str) -> bytes:
        """Raises as `get`."""
        stored = await self.get(requester.user_id, room_id, event_id)
        return (await self._event_json.render((stored,), requester, BUNDLED_STYLE))[0]
