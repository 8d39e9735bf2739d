"""Presence for servers that come into a room, and of users who do: others were told of it before they shared a room."""

from collections.abc import Sequence
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.sending.destination_queue import Passing
from federation.sending.ephemeral import Outgoing, presence_passing
from federation.sending.room_servers import RoomServers
from storage.database import Database
from storage.events import StoreEvent
from storage.presence import PresenceRepository, PresenceRow, SetPresence

MAX_TOLD: Final = 300
"""Users of whom a new server is told at once: who was active last comes first."""


class PresenceNewcomers:
    """What a change of members makes worth telling. Who is offline is not."""

    def __init__(self, server_name: str, database: Database, servers: RoomServers) -> None:
        self._server_name = server_name
        self._database = database
        self._servers = servers
        self._repository = PresenceRepository()

    async def make(self, change: StoreEvent) -> Sequence[Outgoing]:
        """For an event that `servers` has counted already."""
        told: list[Outgoing] = []
        for membership in change.memberships:
            if membership.membership == "join":
                told += await self._of_join(change.room_id, membership.user_id)
        return told

    async def _of_join(self, room_id: str, user_id: str) -> Sequence[Outgoing]:
        others = frozenset(await self._servers.get(room_id)) - {self._server_name}
        server_name = domain_of(user_id)
        if not others:
            return ()
        if server_name == self._server_name:
            row = await self._database.read(lambda tx: self._repository.find(tx, user_id))
            return [] if row is None or row.state == "offline" else [Outgoing(others, _passing(row))]
        # The first of its server: the others there were told when he was.
        if await self._servers.count_members(room_id, server_name) != 1:
            return ()
        rows = await self._database.read(self._repository.get_not_offline)
        ours = {row.user_id: row for row in rows if domain_of(row.user_id) == self._server_name}
        joined = [ours[one] for one in await self._servers.choose_joined(room_id, ours)]
        newest = sorted(joined, key=lambda row: row.last_active_ms, reverse=True)[:MAX_TOLD]
        return [Outgoing((server_name,), _passing(row)) for row in reversed(newest)]


def _passing(row: PresenceRow) -> Passing:
    return presence_passing(
        SetPresence(row.user_id, row.state, row.status_msg, row.last_active_ms, row.currently_active), None
    )
