"""A room's summary, for those who think of joining. Source: client-server API, "Room summaries"."""

from collections.abc import Mapping, Sequence
from typing import Any

from popcube_server.services.errors import NotFound
from popcube_server.services.remote_queries.remote_spaces import RemoteSpaces
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.likely_servers import LikelyServers
from popcube_server.services.rooms.resolve_any_alias import ResolveAnyAlias, RoomAddress
from popcube_server.services.rooms.room_access import is_accessible, is_open_to_all, membership_in
from popcube_server.services.rooms.room_summaries import RoomSummaries, RoomSummary
from popcube_server.services.rooms.user_rooms import UserRooms

_MISSING = "The room was not found."


class PreviewRoom:
    def __init__(
        self,
        summaries: RoomSummaries,
        user_rooms: UserRooms,
        aliases: ResolveAnyAlias,
        remote: RemoteSpaces,
        likely_servers: LikelyServers,
    ) -> None:
        self._summaries = summaries
        self._user_rooms = user_rooms
        self._aliases = aliases
        self._remote = remote
        self._likely_servers = likely_servers

    async def of(self, requester: Requester, room_id_or_alias: str, via: Sequence[str]) -> Mapping[str, Any]:
        """The summary, with the requester's membership. `via` are servers to ask if this one does not know the room.

        Raises `NotFound` for hidden and unknown rooms alike, `LimitExceeded`.
        """
        address = await self._aliases.address_of(requester.user_id, room_id_or_alias)
        room = await self._summaries.find(address.room_id)
        if room is None or not room.is_here:
            room = await self._find_elsewhere(requester, address, via)
        memberships = await self._user_rooms.of_user(requester.user_id)
        if room is None or not is_accessible(room, memberships):
            raise NotFound(_MISSING)
        return {**room.summary(), "membership": membership_in(room.room_id, memberships) or "leave"}

    async def for_anybody(self, asker: str, room_id_or_alias: str) -> Mapping[str, Any]:
        """For those without an account: rooms that are here and open to all. Raises as `of`."""
        # "Servers should consider rate limiting requests that require a federation request more heavily if the client
        # is unauthenticated." No other server is asked about rooms for them at all.
        address = await self._aliases.address_of(asker, room_id_or_alias)
        room = await self._summaries.find(address.room_id)
        if room is None or not room.is_here or not is_open_to_all(room):
            raise NotFound(_MISSING)
        return room.summary()

    async def _find_elsewhere(
        self, requester: Requester, address: RoomAddress, via: Sequence[str]
    ) -> RoomSummary | None:
        likely = await self._likely_servers.of(requester.user_id, address.room_id)
        servers = (*via, *address.servers, *likely)
        found = await self._remote.find(requester.user_id, address.room_id, servers)
        return None if found is None else found.room
