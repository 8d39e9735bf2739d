"""Which rooms a server may ask about. Source: server-server API, "Retrieving events", "Server ACLs"."""

from typing import Protocol

from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import UnknownRoom
from federation.rooms.room_state import RoomState
from federation.rooms.server_acl import ACL_PAIR, is_server_allowed
from popcube_server.services.errors import NotAllowed, NotFound


class FindRoom(Protocol):
    async def get(self, room_id: str) -> LiveRoom:
        """Raises `UnknownRoom`."""


class RoomAccess:
    """Finds rooms for other servers."""

    def __init__(self, rooms: FindRoom, events: EventStore, server_name: str) -> None:
        self._rooms = rooms
        self._events = events
        self._server_name = server_name

    async def allowed(self, origin: str, room_id: str) -> LiveRoom:
        """The room, if its ACL lets the server take part. Raises `NotFound`, `NotAllowed`."""
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotFound("This server does not know that room.") from None
        if not await self.is_allowed(origin, room):
            raise NotAllowed("Your server is banned from the room.")
        return await self._rooms.get(room_id)

    async def resident(self, origin: str, room_id: str) -> LiveRoom:
        """As `allowed`, for what only a server that is in the room can answer."""
        room = await self.allowed(origin, room_id)
        if not has_member_of(room.committed, self._server_name):
            raise NotFound("This server is not in that room.")
        return room

    async def shared(self, origin: str, room_id: str) -> LiveRoom:
        """As `allowed`, for servers that are in the room themselves."""
        room = await self.allowed(origin, room_id)
        if not has_member_of(room.committed, origin):
            raise NotAllowed("Your server is not in the room.")
        return room

    async def is_allowed(self, origin: str, room: LiveRoom) -> bool:
        """Whether the room's ACL lets a server take part."""
        event_id = room.committed.entries.get(ACL_PAIR)
        stored = None if event_id is None else await self._events.find(event_id)
        return is_server_allowed(None if stored is None else stored.event.content, origin)


def has_member_of(state: RoomState, server_name: str) -> bool:
    """Whether a user of a server is joined."""
    return state.has_member_of(server_name)


def servers_of(state: RoomState) -> list[str]:
    """The servers of those who are joined."""
    return sorted(state.servers)
