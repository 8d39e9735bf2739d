"""Which servers are in a room: counted once, then kept by what changes, so that a message costs no look at members."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Sequence

from immutables import Map

from federation.room_dag.identifiers import domain_of
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.room_state import RoomState
from storage.change import LogEntry
from storage.events import StoreEvent
from storage.memberships import MembershipChange
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(slots=True)
class _Room:
    memberships: "Map[str, str]"
    """As they were counted: shares its structure with the live room's."""
    servers: Counter[str]
    """How many joined members each server has."""

    def apply(self, change: MembershipChange) -> None:
        """Applying what was applied already changes nothing."""
        old = self.memberships.get(change.user_id)
        self.memberships = self.memberships.set(change.user_id, change.membership)
        if old == change.membership or "join" not in (old, change.membership):
            return
        server = domain_of(change.user_id)
        self.servers[server] += 1 if change.membership == "join" else -1
        if self.servers[server] <= 0:
            del self.servers[server]


class RoomServers:
    """The rooms looked at last. The owner applies what the log says, in its order."""

    def __init__(self, rooms: LiveRooms, size: int) -> None:
        self._live = rooms
        self._size = size
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rooms)

    async def get(self, room_id: str) -> Collection[str]:
        """Names of the servers with joined members; none if the room is unknown. Valid until the next wait."""
        return (await self._get(room_id)).servers.keys()

    async def load(self, room_ids: Iterable[str]) -> None:
        """Count several rooms, with few reads for all of them."""
        missing = [room_id for room_id in room_ids if room_id not in self._rooms]
        if missing:
            await self._live.get_many(missing)
            for room_id in missing:
                self.warm(room_id)

    async def count_members(self, room_id: str, server_name: str) -> int:
        """How many joined members the server has there."""
        return (await self._get(room_id)).servers[server_name]

    async def choose_joined(self, room_id: str, user_ids: Iterable[str]) -> list[str]:
        """Those of the users who are in the room."""
        memberships = (await self._get(room_id)).memberships
        return [user_id for user_id in user_ids if memberships.get(user_id) == "join"]

    async def apply(self, change: StoreEvent) -> Collection[str]:
        """The servers that are in the room before an event and not after it."""
        room = await self._get(change.room_id)
        if not change.memberships:
            return ()
        before = frozenset(room.servers)
        for membership in change.memberships:
            room.apply(membership)
        return before - room.servers.keys()

    def warm(self, room_id: str) -> None:
        """Count a room that is in memory now, before others of its events are committed than its owner knows of."""
        if room_id not in self._rooms:
            live = self._live.find(room_id)
            if live is not None:
                self._keep(room_id, live.committed)

    def note(self, change: StoreEvent) -> None:
        """As `apply`, for an event whose destinations nobody asks for."""
        room = self._rooms.get(change.room_id)
        if room is not None:
            for membership in change.memberships:
                room.apply(membership)

    def hear(self, entries: Sequence[LogEntry]) -> None:
        """Follow the log: for an owner that does not read it entry by entry itself."""
        for entry in entries:
            if isinstance(entry.change, StoreEvent):
                self.note(entry.change)
            elif entry.kind == StoreEvent.kind:
                self.forget(entry.key[0])

    def forget(self, room_id: str) -> None:
        """An event was stored of which only the ID is known: count again when it is asked for."""
        self._rooms.pop(room_id, None)

    async def _get(self, room_id: str) -> _Room:
        room = self._rooms.get(room_id)
        if room is None:
            try:
                live = await self._live.get(room_id)
            except UnknownRoom:
                return _Room(Map(), Counter())
            room = self._rooms.get(room_id) or self._keep(room_id, live.committed)
        if room_id in self._rooms:
            self._rooms.move_to_end(room_id)
        return room

    def _keep(self, room_id: str, state: RoomState) -> _Room:
        room = self._rooms[room_id] = _count(state)
        if len(self._rooms) > self._size:
            self._rooms.popitem(last=False)
        return room


def _count(state: RoomState) -> _Room:
    return _Room(state.memberships, Counter(dict(state.servers)))
