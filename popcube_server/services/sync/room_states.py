"""Rooms' states at a position of the log, also of rooms that have moved on since."""

from collections.abc import Collection, Iterable

from immutables import Map

from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.live_rooms import LiveRooms, read_entries
from federation.rooms.room_state import MEMBER, RoomState, StatePair, make_state
from storage.database import Database, Transaction
from storage.event_rows import EventsRepository
from storage.log import Log
from storage.snapshots import SnapshotsRepository
from synapse_like_config.lazy_dataclasses import dataclass

BEGINNING = -(2**62)


@dataclass(frozen=True, slots=True)
class _Read:
    entries: dict[StatePair, str]
    memberships: dict[str, str]


class RoomStates:
    """Gives states that are exact for a position: an answer to a client must fit together."""

    def __init__(
        self,
        database: Database,
        events_repository: EventsRepository,
        snapshots: SnapshotsRepository,
        events: EventStore,
        rooms: LiveRooms,
        log: Log,
    ) -> None:
        self._database = database
        self._events_repository = events_repository
        self._snapshots = snapshots
        self._events = events
        self._rooms = rooms
        self._log = log

    def find_present(self, room_id: str) -> RoomState | None:
        """The state as of the log's position, if the room is in memory."""
        room = self._rooms.find(room_id)
        return None if room is None else room.committed

    async def at(self, room_ids: Iterable[str], position: int) -> dict[str, RoomState]:
        """The states at a position; rooms that this server does not know, or did not know then, are left out."""
        rooms = await self._rooms.get_many(room_ids)
        states = {room_id: room.committed for room_id, room in rooms.items()}
        for room_id in self._moved_since(states, position):
            del states[room_id]
            state = await self.past(room_id, position)
            if state is not None:
                states[room_id] = state
        return states

    async def past(self, room_id: str, position: int) -> RoomState | None:
        """The state after the room's last event at or before a position, from the database."""
        read = await self._database.read(lambda tx: self._read(tx, room_id, position))
        return None if read is None else make_state(Map(read.entries), Map(read.memberships))

    def _moved_since(self, room_ids: Collection[str], position: int) -> set[str]:
        entries = self._log.since(position)
        if entries is None:
            return set(room_ids)
        return {entry.key[0] for entry in entries if entry.kind == "event" and entry.key[0] in room_ids}

    def _read(self, tx: Transaction, room_id: str, position: int) -> _Read | None:
        rows = self._events_repository.get_backward(tx, room_id, BEGINNING, live_ordering(position), 1)
        if not rows or rows[0].snapshot_nid is None:
            return None
        states = self._snapshots.get_states(tx, (rows[0].snapshot_nid,))
        entries = read_entries(tx, states[rows[0].snapshot_nid])
        members = [event_id for pair, event_id in entries.items() if pair[0] == MEMBER]
        events = self._events.get_many_within(tx, members)
        memberships = {
            stored.event.state_key: stored.event.membership
            for stored in events.values()
            if stored.event.state_key is not None and stored.event.membership is not None
        }
        return _Read(entries, memberships)
