"""The state of a room for those who may see it. Source: client-server API, room participation (rooms)."""

from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import NotFound
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import STYLE, EventJson
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.state_at import StatesAt


class ReadState:
    def __init__(self, views: RoomViews, states: StatesAt, event_json: EventJson) -> None:
        self._views = views
        self._states = states
        self._event_json = event_json

    async def all(self, requester: Requester, room_id: str) -> list[bytes]:
        """The JSON of every state event. Raises `NotAllowed`."""
        view = await self._views.of(requester.user_id, room_id)
        events = await self._states.events(await self._states.seen_by(view))
        return self._event_json.state(events, STYLE)

    async def find(self, requester: Requester, room_id: str, event_type: str, state_key: str) -> StoredEvent:
        """One entry. Raises `NotAllowed`, `NotFound`."""
        view = await self._views.of(requester.user_id, room_id)
        entries = await self._states.seen_by(view)
        event_id = entries.get((event_type, state_key))
        if event_id is None:
            raise NotFound("The room has no such state.")
        return (await self._states.events({(event_type, state_key): event_id}))[0]

    async def event(self, requester: Requester, room_id: str, event_type: str, state_key: str) -> bytes:
        """The JSON of the whole event. Raises as `find`."""
        stored = await self.find(requester, room_id, event_type, state_key)
        return (await self._event_json.render((stored,), requester))[0]
