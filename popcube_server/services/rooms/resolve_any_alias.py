"""From any alias to a room: here, or by asking the alias's server. Source: client-server API, directory."""

from federation.room_dag.identifiers import domain_of, is_room_alias
from popcube_server.services.errors import InvalidParam
from popcube_server.services.remote_queries.remote_aliases import RemoteAliases
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomAddress:
    """A room, and servers through which it can be joined."""

    room_id: str
    servers: tuple[str, ...]


class ResolveAnyAlias:
    def __init__(self, local: ResolveAlias, remote: RemoteAliases, server_name: str) -> None:
        self._local = local
        self._remote = remote
        self._server_name = server_name

    async def get(self, asker: str, alias: str) -> RoomAddress:
        """Where an alias leads. `asker` is a user ID or an address: who is counted for what others are asked.

        Raises `InvalidParam` for what is no alias, `NotFound`, `LimitExceeded`; M_UNKNOWN with 502 or 504 if the server
        of the alias cannot be asked.
        """
        if not is_room_alias(alias):
            raise InvalidParam("That is not a room alias.")
        if domain_of(alias) == self._server_name:
            local = await self._local.get(alias)
            return RoomAddress(local.room_id, local.servers)
        remote = await self._remote.get(asker, alias)
        return RoomAddress(remote.room_id, remote.servers)

    async def address_of(self, asker: str, room_id_or_alias: str) -> RoomAddress:
        """The room that a path's room ID or alias means. Raises as `get`."""
        if room_id_or_alias.startswith("#"):
            return await self.get(asker, room_id_or_alias)
        return RoomAddress(room_id_or_alias, ())
