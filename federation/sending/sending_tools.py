"""What sending uses of others."""

from collections.abc import Mapping
from typing import Any, Protocol

from federation.sending.batch import Batches
from federation.sending.destination_queue import Clock, QueueLimits
from federation.sending.missed import Missed
from federation.sending.refusals import Refusals
from federation.sending.room_servers import RoomServers
from storage.committer import Committer
from storage.database import Database
from storage.destinations import FailingDestination
from synapse_like_config.lazy_dataclasses import dataclass


class SendTransaction(Protocol):
    """Reaches other servers."""

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Any]:
        """The answer. Raises `FederationError`."""


class Pauses(Protocol):
    """Knows who does not answer (`BackOff`)."""

    async def find(self, destination: str) -> FailingDestination | None: ...


@dataclass(frozen=True, slots=True)
class SendingTools:
    """What deliveries use of others."""

    transactions: SendTransaction
    pauses: Pauses
    database: Database
    committer: Committer
    clock: Clock
    servers: RoomServers
    missed: Missed
    batches: Batches
    refusals: Refusals
    limits: QueueLimits
