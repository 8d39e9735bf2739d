"""Which servers may know a room that this one is not in, where the client names none."""

from collections.abc import Sequence
from contextlib import suppress

from federation.room_dag.identifiers import InvalidIdentifier, domain_of
from storage.database import Database
from storage.stripped_states import StrippedStatesRepository


class LikelyServers:
    def __init__(self, database: Database, stripped: StrippedStatesRepository) -> None:
        self._database = database
        self._stripped = stripped

    async def of(self, user_id: str, room_id: str) -> Sequence[str]:
        """Those through which the user was invited or knocked, and the one that the ID names."""
        row = await self._database.read(lambda tx: self._stripped.find(tx, user_id, room_id))
        servers = [] if row is None else list(row.servers)
        with suppress(InvalidIdentifier):
            # COMPAT: up to room version 11 the ID has the creator's server.
            servers.append(domain_of(room_id))
        return servers
