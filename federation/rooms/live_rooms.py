"""The rooms in memory: loaded when asked for, bounded, moved on by the log."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from immutables import Map

from federation.room_dag.event import Event
from federation.room_dag.room_versions import RoomRules, get_room_rules
from federation.rooms.branch import Branch
from federation.rooms.event_store import EventStore, live_ordering
from federation.rooms.live_room import RULES_PAIRS, Head, LiveRoom
from federation.rooms.resolving import Resolving
from federation.rooms.room_state import MEMBER, StatePair, make_state
from federation.rooms.slow_rooms import SlowRooms
from federation.rooms.stored_event import StoredEvent
from storage.change import LogEntry
from storage.database import Database, Transaction, Waiter
from storage.event_rows import EventsRepository
from storage.events import StoreEvent, find_event_ids
from storage.log import Log
from storage.memberships import MembershipsRepository
from storage.rooms import RoomsRepository
from storage.snapshots import SnapshotsRepository, StateNids
from synapse_like_config.lazy_dataclasses import dataclass

T = TypeVar("T")

LOADED_TOGETHER = 50
"""Rooms: bounds what is in memory of a read that is under way."""


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
class _Loaded:
    """What a database thread read of a room."""

    rules: RoomRules
    heads: list[Head]
    current: Branch
    memberships: dict[str, str]
    rules_events: dict[str, Event]


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
        self._coming: dict[str, list[Waiter[None]]] = {}
        """Rooms that are read together with others, and who waits for all of these."""
        self.loads = 0
        self.hits = 0
        # The first follower: whoever follows behind sees rooms as they are after the entries it is given.
        self._log = log
        log.follow(self._follow)
        self.resolving = Resolving(repositories.snapshots, events, log)
        self._slow = SlowRooms(database)

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
        while True:
            room = self.find(room_id)
            if room is not None:
                return room
            self.loads += 1
            start = self._log.position
            loaded = await self.decide(room_id, lambda tx: self._load(tx, room_id))
            # While the database was read, somebody else may have been quicker; their room may have moved on already,
            # and may be gone from memory again.
            room = self.find(room_id)
            if room is not None:
                return room
            if not self._has_moved(room_id, start):
                return self.add(self._make(room_id, loaded))

    async def get_many(self, room_ids: Iterable[str]) -> dict[str, LiveRoom]:
        """Several rooms with one read; those that this server does not know are left out.

        Who is told that a user is there needs the same rooms as the sync that the user began with: they are read once.
        """
        found: dict[str, LiveRoom] = {}
        missing: list[str] = []
        coming: list[str] = []
        for room_id in room_ids:
            room = self.find(room_id)
            if room is not None:
                found[room_id] = room
            else:
                (coming if room_id in self._coming else missing).append(room_id)
        if missing:
            found.update(await self._get_missing(missing))
        if coming:
            await self._wait_for(coming)
            found.update(await self.get_many(coming))
        return found

    async def _get_missing(self, room_ids: Sequence[str]) -> dict[str, LiveRoom]:
        self.loads += len(room_ids)
        start = self._log.position
        found: dict[str, LiveRoom] = {}
        waiting: list[Waiter[None]] = []
        self._coming.update((room_id, waiting) for room_id in room_ids)
        try:
            loaded = await self._database.read(lambda tx: self._load_many(tx, room_ids))
            for room_id, read in loaded.items():
                room = self.find(room_id)
                if room is None and not self._has_moved(room_id, start):
                    room = self.add(self._make(room_id, read))
                if room is not None:
                    found[room_id] = room
        finally:
            for room_id in room_ids:
                self._coming.pop(room_id, None)
            for waiter in waiting:
                waiter.succeed(None)
        for room_id in loaded:
            if room_id not in found:
                found[room_id] = await self.get(room_id)
        return found

    async def _wait_for(self, room_ids: Iterable[str]) -> None:
        for room_id in room_ids:
            waiting = self._coming.get(room_id)
            if waiting is not None:
                waiter: Waiter[None] = Waiter()
                waiting.append(waiter)
                await waiter

    def _has_moved(self, room_id: str, start: int) -> bool:
        entries = self._log.since(start)
        return entries is None or any(
            isinstance(entry.change, StoreEvent) and entry.change.room_id == room_id for entry in entries
        )

    @asynccontextmanager
    async def hold(self, room_id: str) -> AsyncIterator[LiveRoom]:
        """The room, standing still until the end of the block: senders and others who hold it wait.

        For decisions that need the database between looking and acting. Raises `UnknownRoom`.
        """
        room = await self.get_free(room_id)
        room.held = []
        try:
            yield room
        finally:
            waiting, room.held = room.held, None
            for waiter in waiting:
                waiter.succeed(None)

    async def get_free(self, room_id: str) -> LiveRoom:
        """As `get`, once nobody holds the room."""
        room = await self.get(room_id)
        while room.held is not None:
            waiter: Waiter[None] = Waiter()
            room.held.append(waiter)
            await waiter
            room = await self.get(room_id)
        return room

    def add(self, room: LiveRoom) -> LiveRoom:
        """Take in a room, new or loaded."""
        self._rooms[room.room_id] = room
        self._evict()
        return room

    def drop_if_broken(self, room: LiveRoom) -> None:
        """Forget a room of which a commit failed: its memory is not what the database holds."""
        if room.fence.broken and self._rooms.get(room.room_id) is room:
            del self._rooms[room.room_id]

    def _evict(self) -> None:
        # A room with events on their way to the disk must stay: the database does not know them yet.
        if len(self._rooms) <= self._size:
            return
        for room_id, room in self._rooms.items():
            if not room.pending and room.held is None:
                del self._rooms[room_id]
                return

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if not isinstance(entry.change, StoreEvent):
                continue
            room = self._rooms.get(entry.change.room_id)
            nid = entry.position if entry.change.outlier_nid is None else entry.change.outlier_nid
            pending = None if room is None else room.commit(entry.change.event_id, nid)
            if pending is not None:
                self._events.put_committed(self._stored(pending.event, entry.change, entry.position, nid))

    def _stored(self, event: Event, change: StoreEvent, position: int, nid: int) -> StoredEvent:
        snapshot_nid = nid if change.new_state is not None else change.snapshot_nid
        if snapshot_nid is None and change.snapshot is not None:
            # The event that named the snapshot was on its way when this one was appended; it is here by now.
            named = self._events.find_cached(change.snapshot)
            snapshot_nid = None if named is None else named.position
        ordering = live_ordering(position) if change.ordering is None else change.ordering
        return StoredEvent(
            event,
            nid,
            ordering,
            change.flags,
            change.push,
            snapshot_nid,
            change.replaces,
            None,
            change.thread,
        )

    def _load_many(self, tx: Transaction, room_ids: Sequence[str]) -> dict[str, _Loaded]:
        loaded: dict[str, _Loaded] = {}
        for start in range(0, len(room_ids), LOADED_TOGETHER):
            loaded.update(self._load_together(tx, room_ids[start : start + LOADED_TOGETHER]))
        return loaded

    def _load(self, tx: Transaction, room_id: str) -> _Loaded:
        loaded = self._load_together(tx, (room_id,))
        if room_id not in loaded:
            raise UnknownRoom(room_id)
        return loaded[room_id]

    def _load_together(self, tx: Transaction, room_ids: Sequence[str]) -> dict[str, _Loaded]:
        """Whatever the number of rooms, about as many statements: after a start, a sync needs them all."""
        lookup = self.resolving.lookup(tx)
        rooms = self._repositories.rooms.get_many(tx, room_ids)
        rows = [row for room in rooms.values() for row in room.heads]
        stored = lookup.load(row.event_id for row in rows)
        branches = self.resolving.states.read(tx, {row.snapshot_nid for row in rows})
        rules = {room_id: get_room_rules(room.version) for room_id, room in rooms.items()}
        heads = {
            room_id: [
                Head(row.event_id, stored[row.event_id].event.depth, branches[row.snapshot_nid])
                for row in room.heads
            ]
            for room_id, room in rooms.items()
        }
        current = {
            room_id: self.resolving.branches.merge(
                room_id, rules[room_id], [head.branch for head in heads[room_id]], lookup
            )
            for room_id in rooms
        }
        rules_ids = {
            room_id: [branch.entries[pair] for pair in RULES_PAIRS if pair in branch.entries]
            for room_id, branch in current.items()
        }
        events = lookup.load(event_id for ids in rules_ids.values() for event_id in ids)
        # What the rooms' members are by the state that was current last is in a table of its own.
        members = self._repositories.memberships.get_of_rooms(tx, rooms)
        return {
            room_id: _Loaded(
                rules[room_id],
                heads[room_id],
                current[room_id],
                {row.user_id: row.membership for row in members[room_id]},
                {event_id: events[event_id].event for event_id in rules_ids[room_id] if event_id in events},
            )
            for room_id in rooms
        }

    async def decide(self, room_id: str, work: Callable[[Transaction], T]) -> T:
        """Read for a decision about a room, which may take long: other rooms go on meanwhile."""
        return await self._slow.decide(room_id, work)

    def _make(self, room_id: str, loaded: _Loaded) -> LiveRoom:
        entries = loaded.current.entries
        memberships = Map(
            (pair[1], loaded.memberships[pair[1]])
            for pair in entries
            if pair[0] == MEMBER and pair[1] in loaded.memberships
        )
        room = LiveRoom(room_id, loaded.rules, loaded.heads, loaded.current, make_state(entries, memberships))
        room.auth_events = loaded.rules_events
        return room


def read_entries(tx: Transaction, state: StateNids) -> dict[StatePair, str]:
    """A state with names in place of numbers."""
    names = tx.names_of(number for pair in state for number in pair)
    event_ids = find_event_ids(tx, state.values())
    return {(names[pair[0]], names[pair[1]]): event_ids[nid] for pair, nid in state.items()}
