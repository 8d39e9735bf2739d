"""Device lists that nobody tells about any more: whoever left all shared rooms is asked again next time."""

from collections.abc import Mapping, Sequence
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.events import StoreEvent
from storage.memberships import MembershipsRepository
from storage.remote_devices import DistrustRemoteDevices

CHUNK: Final = 500


class DistrustLists:
    """Work of a durable follower."""

    name = "distrust device lists"

    def __init__(self, server_name: str, database: Database, rooms: LiveRooms, committer: Committer) -> None:
        self._server_name = server_name
        self._database = database
        self._rooms = rooms
        self._committer = committer
        self._memberships = MembershipsRepository()

    def concerns(self, entry: LogEntry) -> bool:
        if entry.kind != StoreEvent.kind:
            return False
        change = entry.change
        # Of an entry that was read from the database it is not known what it was.
        return not isinstance(change, StoreEvent) or any(
            membership.membership != "join" for membership in change.memberships
        )

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        """Distrusting too much costs a request later; too little, messages that cannot be read."""
        users: set[str] = set()
        rooms = {entry.key[0] for entry in entries}
        for room_id in rooms:
            users |= await self._absent(room_id, entries)
        ordered = sorted(users)
        for start in range(0, len(ordered), CHUNK):
            await self._committer.commit(DistrustRemoteDevices(tuple(ordered[start : start + CHUNK])))

    async def _absent(self, room_id: str, entries: Sequence[LogEntry]) -> set[str]:
        """Users of other servers who are not in the room any more; all of them, if nobody from here is."""
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return set()
        memberships = room.committed.memberships
        named = {
            membership.user_id
            for entry in entries
            if isinstance(entry.change, StoreEvent) and entry.change.room_id == room_id
            for membership in entry.change.memberships
        }
        is_whole = any(entry.change is None and entry.key[0] == room_id for entry in entries)
        left_here = any(
            domain_of(user_id) == self._server_name and memberships.get(user_id) != "join"
            for user_id in named
        )
        nobody_here = (is_whole or left_here) and self._nobody_here(memberships)
        if is_whole or nobody_here:
            named = set(memberships)
        return {
            user_id
            for user_id in named
            if domain_of(user_id) != self._server_name and (memberships.get(user_id) != "join" or nobody_here)
        }

    def _nobody_here(self, memberships: Mapping[str, str]) -> bool:
        return not any(
            membership == "join" and domain_of(user_id) == self._server_name
            for user_id, membership in memberships.items()
        )
