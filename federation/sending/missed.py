"""What a server missed besides events and messages to devices: read when it is back, as it is then."""

from collections.abc import Sequence
from typing import Final

from federation.room_dag.identifiers import domain_of
from federation.sending.destination_queue import Passing
from federation.sending.ephemeral import SharingServers, presence_passing, receipt_passing
from federation.sending.room_servers import RoomServers
from storage.database import Database
from storage.device_list_updates import DeviceListUpdatesRepository, DeviceUpdate
from storage.presence import PresenceRepository, PresenceRow, SetPresence
from storage.receipts import ReceiptRow, ReceiptsRepository, StoreReceipt

RECEIPTS_LOOKED_AT: Final = 2_000
"""Of everybody's, the newest."""
PRESENCES_LOOKED_AT: Final = 1_000


class Missed:
    """Finds what concerns users of this server, and a destination that shares rooms with them."""

    def __init__(
        self, server_name: str, database: Database, servers: RoomServers, sharing: SharingServers
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._servers = servers
        self._sharing = sharing
        self._updates = DeviceListUpdatesRepository()
        self._receipts = ReceiptsRepository()
        self._presences = PresenceRepository()

    async def find_devices(self, destination: str, since: int) -> Sequence[DeviceUpdate]:
        """Device list updates after a position, oldest first."""
        updates = await self._database.read(lambda tx: self._updates.get_device_updates_after(tx, since))
        known: dict[str, bool] = {}
        return [update for update in updates if await self._is_shared(update.user_id, destination, known)]

    async def find_passing(self, destination: str, since: int) -> Sequence[Passing]:
        """Receipts and presence that became so after a position and are so now, oldest first."""
        receipts, presences = await self._database.read(
            lambda tx: (
                self._receipts.get_public_after(tx, since, RECEIPTS_LOOKED_AT),
                self._presences.get_after(tx, since, PRESENCES_LOOKED_AT),
            )
        )
        found = [
            receipt_passing(_receipt(row), row.position)
            for row in reversed(receipts)
            if self._is_ours(row.user_id) and destination in await self._servers.get(row.room_id)
        ]
        known: dict[str, bool] = {}
        found += [
            presence_passing(_presence(row), row.position)
            for row in reversed(presences)
            if await self._is_shared(row.user_id, destination, known)
        ]
        return found

    def _is_ours(self, user_id: str) -> bool:
        return domain_of(user_id) == self._server_name

    async def _is_shared(self, user_id: str, destination: str, known: dict[str, bool]) -> bool:
        if user_id not in known:
            known[user_id] = self._is_ours(user_id) and await self._sharing.is_shared(user_id, destination)
        return known[user_id]


def _receipt(row: ReceiptRow) -> StoreReceipt:
    return StoreReceipt(row.room_id, row.user_id, row.type, row.thread_id, row.event_id, row.ordering, row.ts)


def _presence(row: PresenceRow) -> SetPresence:
    return SetPresence(row.user_id, row.state, row.status_msg, row.last_active_ms, row.currently_active)
