"""This server's rooms for those outside, as other servers may see them.

Source: server-server API, "Published Room Directory" and "Spaces".
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from federation.room_dag.identifiers import domain_of
from federation.rooms.live_rooms import LiveRooms
from popcube_server.services.errors import NotAllowed, NotFound
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.rooms.public_rooms import NO_ROOMS, DirectoryPage, DirectorySearch, PublicRooms
from popcube_server.services.rooms.room_access import is_accessible_to_server
from popcube_server.services.rooms.room_summaries import RoomSummaries, RoomSummary
from popcube_server.services.rooms.space_walk import HierarchyRequest, children_of
from synapse_like_config.lazy_dataclasses import dataclass


class ServersInRoom(Protocol):
    async def get(self, room_id: str) -> Collection[str]:
        """Names of the servers in a room."""


@dataclass(frozen=True, slots=True)
class SharedSpace:
    """A room as another server may see it, and its children."""

    room: RoomSummary
    children: Sequence[RoomSummary]
    inaccessible: Sequence[str]
    """Room IDs of children that are here and not for that server."""


class ServeDirectory:
    """The directory, if it is open to other servers."""

    def __init__(self, public_rooms: PublicRooms, is_open: bool, limiter: RateLimiter) -> None:
        self._public_rooms = public_rooms
        self._is_open = is_open
        self._limiter = limiter

    async def list(self, origin: str, search: DirectorySearch) -> DirectoryPage:
        """Raises `NotAllowed`, `InvalidParam` for a wrong token, `LimitExceeded`."""
        if not self._is_open:
            raise NotAllowed("This server does not list its rooms for other servers.")
        self._limiter.spend(origin)
        # No application service lists rooms here.
        return NO_ROOMS if search.network else await self._public_rooms.list_federated(search.rooms)


class ServeHierarchy:
    def __init__(
        self, summaries: RoomSummaries, rooms: LiveRooms, servers: ServersInRoom, limiter: RateLimiter
    ) -> None:
        self._summaries = summaries
        self._rooms = rooms
        self._servers = servers
        self._limiter = limiter

    async def get(self, origin: str, room_id: str, request: HierarchyRequest) -> SharedSpace:
        """Raises `NotFound` for hidden and unknown rooms alike, `LimitExceeded`."""
        self._limiter.spend(origin)
        room = await self._summaries.find(room_id)
        if room is None or not room.is_here or not await self._is_shown(origin, room):
            raise NotFound("This server does not know that room.")
        known = await self._summaries.of(child.room_id for child in children_of(room, request))
        children: list[RoomSummary] = []
        inaccessible: list[str] = []
        for child in known.values():
            # "Rooms which the responding server cannot provide details on will be outright excluded from the response".
            if not child.is_here:
                continue
            if await self._is_shown(origin, child):
                children.append(child)
            else:
                inaccessible.append(child.room_id)
        return SharedSpace(room, children, inaccessible)

    async def _is_shown(self, origin: str, room: RoomSummary) -> bool:
        # What is open needs no look at members.
        if is_accessible_to_server(room, origin, {}, False):
            return True
        servers: Mapping[str, Collection[str]] = {
            one: await self._servers_of(one) for one in (room.room_id, *room.allowed_room_ids)
        }
        return is_accessible_to_server(room, origin, servers, await self._is_invited(origin, room.room_id))

    async def _servers_of(self, room_id: str) -> Collection[str]:
        return frozenset(await self._servers.get(room_id))

    async def _is_invited(self, origin: str, room_id: str) -> bool:
        memberships = (await self._rooms.get(room_id)).committed.memberships
        suffix = ":" + origin
        return any(
            membership == "invite" and user_id.endswith(suffix) and domain_of(user_id) == origin
            for user_id, membership in memberships.items()
        )
