"""What a server that comes into a room cannot know of: events of ours that its join does not stand on.

They were sent, or decided about, when it was not in the room: between `make_join` and `send_join`, or at another site
while its join was on the way from there. Who has the heads asks for what lies before them. What was said when only
members were to see it is not for whoever came later: `ServerVisibility` says the same to those who ask.
"""

from collections.abc import Sequence
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from federation.sending.destination_queue import QueuedEvent
from federation.sending.room_servers import RoomServers
from storage.database import Database
from storage.events import StoreEvent
from storage.rooms import RoomsRepository
from storage.state_entries import StateEntriesRepository

_VISIBILITY_PAIR: Final = ("m.room.history_visibility", "")
_CLOSED: Final = ("joined", "invited")


class NewcomerHeads:
    def __init__(
        self, server_name: str, database: Database, events: EventStore, servers: RoomServers
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._events = events
        self._servers = servers
        self._rooms = RoomsRepository()
        self._states = StateEntriesRepository()

    async def find(self, change: StoreEvent, position: int) -> Sequence[tuple[str, QueuedEvent]]:
        """(Server, event) for an event at a position of the log, which `servers` has counted already."""
        newcomers = [
            domain_of(one.user_id)
            for one in change.memberships
            if one.membership == "join" and domain_of(one.user_id) != self._server_name
        ]
        first = [name for name in newcomers if await self._servers.count_members(change.room_id, name) == 1]
        if not first:
            return ()
        heads = await self._database.read(lambda tx: self._rooms.get_heads(tx, change.room_id))
        events = [await self._find(head.event_id, position) for head in heads]
        return [(name, event) for name in first for event in events if event is not None]

    async def _find(self, event_id: str, before: int) -> QueuedEvent | None:
        stored = await self._events.find(event_id)
        # What came after the join is sent in its turn; others' events are sent by their servers.
        if stored is None or stored.position >= before or domain_of(stored.event.sender) != self._server_name:
            return None
        if not stored.event.is_state and await self._is_closed(stored):
            return None
        return QueuedEvent(stored.position, stored.event.room_id, event_id)

    async def _is_closed(self, stored: StoredEvent) -> bool:
        """Whether it is for those alone who were in the room when it was sent."""
        nid = stored.snapshot_nid
        if nid is None:
            return True
        states = await self._database.read(
            lambda tx: self._states.get_entries(tx, (nid,), (_VISIBILITY_PAIR,))
        )
        event_id = states.get(nid, {}).get(_VISIBILITY_PAIR)
        visibility = None if event_id is None else await self._events.find(event_id)
        return visibility is not None and visibility.event.content.get("history_visibility") in _CLOSED
