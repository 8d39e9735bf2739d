"""The rooms in memory: loaded when asked for, bounded, moved on by the log."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from immutables import Map

from federation.room_dag.event import Event
from federation.room_dag.room_versions import get_room_rules
from federation.room_dag.state_resolution.resolve import resolve
from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.live_room import Head, LiveRoom, Snapshot
from federation.rooms.room_state import MEMBER, StatePair, make_state
from federation.rooms.stored_event import StoredEvent
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.events import EventsRepository, StateChange, StoreEvent, find_event_ids
from storage.log import Log
from storage.memberships import MembershipsRepository
from storage.rooms import HeadRow, RoomsRepository
from storage.snapshots import SnapshotsRepository, StateNids

_RULES_PAIRS: tuple[StatePair, ...] = (
    ("m.room.create", ""),
    ("m.room.power_levels", ""),
    ("m.room.join_rules", ""),
)


class UnknownRoom(Exception):
    """This server has no events of that room."""


@dataclass(frozen=True, slots=True)
class RoomRepositories:
    """What is read to make a room live."""

    rooms: RoomsRepository
    events: EventsRepository
    snapshots: SnapshotsRepository
    memberships: MembershipsRepository


@dataclass(frozen=True, slots=True)
class _LoadedState:
    snapshot_nid: int
    entries: dict[StatePair, str]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a database thread read of a room."""

    version: str
    heads: list[HeadRow]
    states: list[_LoadedState]
    snapshot_names: dict[int, str]
    events: dict[str, StoredEvent]
    memberships: dict[str, str]


class _Lookup:
    """Events for state resolution, read as they are needed within one transaction."""

    def __init__(self, tx: Transaction, store: EventStore) -> None:
        self._tx = tx
        self._store = store
        self.events: dict[str, StoredEvent] = {}

    def get(self, event_id: str, /) -> Event:
        stored = self.events.get(event_id)
        if stored is None:
            stored = self._store.get_many_within(self._tx, (event_id,))[event_id]
            self.events[event_id] = stored
        return stored.event


class LiveRooms:
    """The only owner of `LiveRoom` objects: there is never a second one of the same room in use."""

    def __init__(
        self, database: Database, repositories: RoomRepositories, events: EventStore, log: Log, size: int
    ) -> None:
        self._database = database
        self._repositories = repositories
        self._events = events
        self._size = size
        self._rooms: OrderedDict[str, LiveRoom] = OrderedDict()
        self.loads = 0
        self.hits = 0
        # The first follower: whoever follows behind sees rooms as they are after the entries it is given.
        log.follow(self._follow)

    def __len__(self) -> int:
        return len(self._rooms)

    def find(self, room_id: str) -> LiveRoom | None:
        """The room if it is in memory and usable."""
        room = self._rooms.get(room_id)
        if room is None:
            return None
        if room.fence.broken:
            del self._rooms[room_id]
            return None
        self.hits += 1
        self._rooms.move_to_end(room_id)
        return room

    async def get(self, room_id: str) -> LiveRoom:
        """The room, from the database if need be. Use it without waiting in between. Raises `UnknownRoom`."""
        room = self.find(room_id)
        if room is not None:
            return room
        self.loads += 1
        loaded = await self._database.read(lambda tx: self._load(tx, room_id))
        # While the database was read, somebody else may have been quicker; their room may have moved on already.
        return self.find(room_id) or self.add(self._make(room_id, loaded))

    async def get_many(self, room_ids: Iterable[str]) -> dict[str, LiveRoom]:
        """Several rooms with one read; those that this server does not know are left out."""
        found: dict[str, LiveRoom] = {}
        missing: list[str] = []
        for room_id in room_ids:
            room = self.find(room_id)
            if room is None:
                missing.append(room_id)
            else:
                found[room_id] = room
        if missing:
            self.loads += len(missing)
            loaded = await self._database.read(lambda tx: self._load_many(tx, missing))
            for room_id, read in loaded.items():
                found[room_id] = self.find(room_id) or self.add(self._make(room_id, read))
        return found

    def add(self, room: LiveRoom) -> LiveRoom:
        """Take in a room, new or loaded."""
        self._rooms[room.room_id] = room
        self._evict()
        return room

    def drop(self, room: LiveRoom) -> None:
        """Forget a room whose memory is not what the database holds."""
        if self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id]

    def _evict(self) -> None:
        # A room with events on their way to the disk must stay: the database does not know them yet.
        if len(self._rooms) <= self._size:
            return
        for room_id, room in self._rooms.items():
            if not room.pending:
                del self._rooms[room_id]
                return

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if not isinstance(entry.change, StoreEvent):
                continue
            room = self._rooms.get(entry.change.room_id)
            pending = None if room is None else room.commit(entry.change.event_id, entry.position)
            if pending is not None:
                self._events.put_committed(self._stored(pending.event, entry.change, entry.position))

    def _stored(self, event: Event, change: StoreEvent, position: int) -> StoredEvent:
        snapshot_nid = position if change.new_state is not None else change.snapshot_nid
        if snapshot_nid is None and change.snapshot is not None:
            # The event that named the snapshot was on its way when this one was appended; it is here by now.
            named = self._events.find_cached(change.snapshot)
            snapshot_nid = None if named is None else named.position
        ordering = live_ordering(position) if change.ordering is None else change.ordering
        return StoredEvent(
            event,
            position,
            ordering,
            change.flags,
            change.push,
            snapshot_nid,
            change.replaces,
            None,
            change.thread,
        )

    def _load_many(self, tx: Transaction, room_ids: Sequence[str]) -> dict[str, _Loaded]:
        loaded = {}
        for room_id in room_ids:
            try:
                loaded[room_id] = self._load(tx, room_id)
            except UnknownRoom:
                continue
        return loaded

    def _load(self, tx: Transaction, room_id: str) -> _Loaded:
        room = self._repositories.rooms.find(tx, room_id)
        heads = self._repositories.rooms.get_heads(tx, room_id)
        if room is None or not heads:
            raise UnknownRoom(room_id)
        nids = self._repositories.snapshots.get_states(tx, {head.snapshot_nid for head in heads})
        states = [_LoadedState(nid, read_entries(tx, entries)) for nid, entries in nids.items()]
        wanted = {state.entries[pair] for state in states for pair in _RULES_PAIRS if pair in state.entries}
        wanted.update(head.event_id for head in heads)
        events = self._events.get_many_within(tx, wanted)
        if len(states) == 1:
            # The table of memberships is the member events of the current state, already read.
            rows = self._repositories.memberships.get_of_room(tx, room_id)
            memberships = {row.user_id: row.membership for row in rows}
        else:
            lookup = _Lookup(tx, self._events)
            resolved = resolve(get_room_rules(room.version), [Map(state.entries) for state in states], lookup)
            states.insert(0, _LoadedState(states[0].snapshot_nid, dict(resolved)))
            members = [event_id for (event_type, _), event_id in resolved.items() if event_type == MEMBER]
            found = self._events.get_many_within(tx, members)
            memberships = {
                stored.event.state_key: stored.event.membership
                for stored in found.values()
                if stored.event.state_key is not None and stored.event.membership is not None
            }
            rules_ids = [resolved[pair] for pair in _RULES_PAIRS if pair in resolved]
            events.update(self._events.get_many_within(tx, rules_ids))
        names = find_event_ids(tx, {state.snapshot_nid for state in states})
        return _Loaded(room.version, heads, states, names, events, memberships)

    def _make(self, room_id: str, loaded: _Loaded) -> LiveRoom:
        base = loaded.states[0]
        unsaved: tuple[StateChange, ...] = ()
        if len(loaded.states) > 1:
            # states[0] is the resolved one, described as the difference to the first head's.
            unsaved = difference(loaded.states[1].entries, base.entries)
        member_pairs = Map(
            (pair[1], loaded.memberships[pair[1]])
            for pair in base.entries
            if pair[0] == MEMBER and pair[1] in loaded.memberships
        )
        state = make_state(base.entries.items(), member_pairs)
        heads = [Head(head.event_id, loaded.events[head.event_id].event.depth) for head in loaded.heads]
        auth_events = {
            base.entries[pair]: loaded.events[base.entries[pair]].event
            for pair in _RULES_PAIRS
            if pair in base.entries
        }
        snapshot = Snapshot(loaded.snapshot_names[base.snapshot_nid], base.snapshot_nid, unsaved)
        return LiveRoom(room_id, get_room_rules(loaded.version), heads, state, snapshot, auth_events)


def read_entries(tx: Transaction, state: StateNids) -> dict[StatePair, str]:
    """A state with names in place of numbers."""
    names = tx.names_of(number for pair in state for number in pair)
    event_ids = find_event_ids(tx, state.values())
    return {(names[pair[0]], names[pair[1]]): event_ids[nid] for pair, nid in state.items()}


def difference(old: Mapping[StatePair, str], new: Mapping[StatePair, str]) -> tuple[StateChange, ...]:
    """What leads from one state to another."""
    changed = [(*pair, event_id) for pair, event_id in new.items() if old.get(pair) != event_id]
    return (*changed, *((*pair, None) for pair in old if pair not in new))
