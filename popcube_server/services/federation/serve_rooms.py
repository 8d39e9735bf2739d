"""What other servers read of rooms. Source: server-server API, "Retrieving events", "Backfilling"."""

from collections.abc import Sequence

from federation.room_dag.event import Event
from federation.rooms.event_store import EventStore
from federation.rooms.read_graph import ReadGraph
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import NotFound
from popcube_server.services.federation.room_access import RoomAccess
from popcube_server.services.federation.server_visibility import ServerVisibility
from storage.database import Database
from storage.event_rows import EventsRepository
from storage.events import OUTLIER, REJECTED
from synapse_like_config.lazy_dataclasses import dataclass

MAX_EVENTS = 100
MAX_MISSING_EVENTS = 20
MAX_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class RoomStateAnswer:
    """The state before an event and its auth chain."""

    state: Sequence[Event]
    auth_chain: Sequence[Event]


class ServeRooms:
    """Only to servers that are in the room, and by its history visibility."""

    def __init__(
        self,
        access: RoomAccess,
        graph: ReadGraph,
        visibility: ServerVisibility,
        events: EventStore,
        database: Database,
        repository: EventsRepository,
    ) -> None:
        self._access = access
        self._graph = graph
        self._visibility = visibility
        self._events = events
        self._database = database
        self._repository = repository

    async def event(self, origin: str, event_id: str) -> Event:
        """Raises `NotFound`, `NotAllowed`."""
        stored = await self._events.find(event_id)
        if stored is None or stored.flags & REJECTED:
            raise NotFound("This server does not have that event.")
        await self._access.shared(origin, stored.event.room_id)
        return (await self._visibility.shown(origin, (stored,)))[0]

    async def state(self, origin: str, room_id: str, event_id: str) -> RoomStateAnswer:
        """Raises `NotFound`, `NotAllowed`."""
        await self._access.shared(origin, room_id)
        stored = await self._of_room(room_id, event_id)
        state = await self._graph.state_before(stored)
        if state is None:
            raise NotFound("This server does not know the state there.")
        events = await self._graph.events_of(state.values())
        return RoomStateAnswer(events, await self._graph.auth_chain(list(state.values())))

    async def event_auth(self, origin: str, room_id: str, event_id: str) -> Sequence[Event]:
        """The auth chain of an event. Raises `NotFound`, `NotAllowed`."""
        await self._access.shared(origin, room_id)
        stored = await self._of_room(room_id, event_id)
        return await self._graph.auth_chain((stored.event.event_id,))

    async def backfill(
        self, origin: str, room_id: str, event_ids: Sequence[str], limit: int
    ) -> Sequence[Event]:
        """The events and what is before them. Raises `NotFound`, `NotAllowed`."""
        await self._access.shared(origin, room_id)
        found = await self._graph.ancestors(room_id, event_ids[:MAX_EVENTS], (), 0, min(limit, MAX_EVENTS))
        return await self._visibility.shown(origin, found)

    async def missing_events(
        self,
        origin: str,
        room_id: str,
        earliest: Sequence[str],
        latest: Sequence[str],
        bounds: tuple[int, int],
    ) -> Sequence[Event]:
        """What lies before `latest` and not before `earliest`, oldest first; `bounds`: least depth, most events."""
        await self._access.shared(origin, room_id)
        min_depth, limit = bounds
        stored = await self._events.get_many(latest[:MAX_EVENTS])
        start = [
            prev
            for each in stored.values()
            if each.event.room_id == room_id
            for prev in each.event.prev_events
        ]
        # The latest ones are had by who asks.
        stop = {*earliest[:MAX_EVENTS], *latest[:MAX_EVENTS]}
        found = await self._graph.ancestors(room_id, start, stop, min_depth, min(limit, MAX_MISSING_EVENTS))
        shown = await self._visibility.shown(origin, found)
        shown.reverse()
        return shown

    async def event_at(self, origin: str, room_id: str, at_ms: int, is_backward: bool) -> Event:
        """The event nearest to a time, in one direction. Raises `NotFound`, `NotAllowed`."""
        await self._access.shared(origin, room_id)
        read = self._repository.get_upto_time if is_backward else self._repository.get_from_time
        rows = await self._database.read(lambda tx: read(tx, room_id, at_ms, MAX_LOOKED_AT, 0))
        if not rows:
            raise NotFound("There is no event in that direction.")
        return self._events.keep(rows[:1])[0].event

    async def _of_room(self, room_id: str, event_id: str) -> StoredEvent:
        stored = await self._events.find(event_id)
        if (
            stored is None
            or stored.event.room_id != room_id
            or (stored.flags & REJECTED and stored.flags & OUTLIER)
        ):
            raise NotFound("This server does not have that event in the room.")
        return stored
