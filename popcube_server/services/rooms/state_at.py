"""The state of a room as it was at a place of its timeline."""

from collections.abc import Mapping

from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.live_rooms import LiveRooms, RoomRepositories, UnknownRoom, read_entries
from federation.rooms.room_state import StatePair
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.errors import NotAllowed
from popcube_server.services.rooms.room_views import REFUSAL, RoomView
from storage.database import Database, Transaction
from storage.log import Log

FIRST_ORDERING = -(2**62)
"""Before every event of every timeline."""

Entries = Mapping[StatePair, str]


class StatesAt:
    """Reads states by place; the present one is in memory."""

    def __init__(
        self,
        database: Database,
        repositories: RoomRepositories,
        rooms: LiveRooms,
        events: EventStore,
        log: Log,
    ) -> None:
        self._database = database
        self._repositories = repositories
        self._rooms = rooms
        self._events = events
        self._log = log

    async def seen_by(self, view: RoomView) -> Entries:
        """The state that a view shows: the present one, or the last one before the user left."""
        return await (self.now(view.room_id) if view.left_at is None else self.at(view.room_id, view.left_at))

    async def now(self, room_id: str) -> Entries:
        """Raises `NotAllowed` if this server does not know the room."""
        try:
            return (await self._rooms.get(room_id)).committed.entries
        except UnknownRoom:
            raise NotAllowed(REFUSAL) from None

    async def at(self, room_id: str, ordering: int) -> Entries:
        """The state after the last event that has at most this ordering; empty before the first."""
        if ordering >= live_ordering(self._log.position):
            return await self.now(room_id)
        nid = await self._database.read(lambda tx: self._find_snapshot(tx, room_id, ordering))
        if nid is None:
            return {}
        room = self._rooms.find(room_id)
        if room is not None and not room.pending and not room.snapshot.unsaved and room.snapshot.nid == nid:
            return room.committed.entries
        return await self._database.read(lambda tx: self._read(tx, nid))

    async def events(self, entries: Entries) -> list[StoredEvent]:
        """The events of a state, or of a part of one, in its order."""
        found = await self._events.get_many(entries.values())
        return [found[event_id] for event_id in entries.values() if event_id in found]

    def _find_snapshot(self, tx: Transaction, room_id: str, ordering: int) -> int | None:
        rows = self._repositories.events.get_backward(tx, room_id, FIRST_ORDERING, ordering, 1)
        return rows[0].snapshot_nid if rows else None

    def _read(self, tx: Transaction, nid: int) -> dict[StatePair, str]:
        return read_entries(tx, self._repositories.snapshots.get_states(tx, (nid,))[nid])
