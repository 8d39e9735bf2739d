"""From an alias to a room. Source: client-server API, directory."""

from federation.room_dag.identifiers import domain_of, is_room_alias
from popcube_server.services.errors import InvalidParam, NotFound
from storage.database import Database
from storage.directory import DirectoryRepository
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResolvedAlias:
    """Where an alias leads, and through which servers the room can be joined."""

    alias: str
    room_id: str
    creator: str
    servers: tuple[str, ...]


class ResolveAlias:
    """Looks up the aliases of this server."""

    def __init__(self, database: Database, repository: DirectoryRepository, server_name: str) -> None:
        self._database = database
        self._repository = repository
        self._server_name = server_name

    async def find(self, alias: str) -> ResolvedAlias | None:
        """Where a local alias leads; None if it does not exist or is another server's."""
        if not is_room_alias(alias) or domain_of(alias) != self._server_name:
            return None
        row = await self._database.read(lambda tx: self._repository.find_alias(tx, alias))
        return None if row is None else ResolvedAlias(alias, row.room_id, row.creator, (self._server_name,))

    async def get(self, alias: str) -> ResolvedAlias:
        """As `find`. Raises `InvalidParam` for what is no alias, `NotFound`."""
        if not is_room_alias(alias):
            raise InvalidParam("That is not a room alias.")
        found = await self.find(alias)
        if found is None:
            raise NotFound(f"The room alias {alias} does not exist.")
        return found
