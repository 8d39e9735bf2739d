"""Requests with a transaction ID are done once: a repeat, even after a crash, gets the first answer.

Source: client-server API, "Transaction identifiers".
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from hashlib import blake2b

from federation.rooms.draft import TransactionKey
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from storage.change import Conflict, LogEntry
from storage.committer import Committer
from storage.database import Database, Waiter
from storage.log import Log
from storage.transactions import DropTransactions, MergeTransaction, TransactionsRepository
from synapse_like_config.lazy_dataclasses import dataclass

DEVICES_IN_MEMORY = 5_000
REQUESTS_PER_DEVICE = 20_000
KEPT_MS = 3 * 24 * 3600 * 1000
CLEANING_INTERVAL_S = 3600.0


@dataclass(slots=True)
class _Device:
    """What is known of a device's requests. If it is not complete, an unknown one may still be in the database."""

    done: OrderedDict[bytes, str] = field(default_factory=OrderedDict)
    is_complete: bool = True

    def remember(self, request: bytes, event_id: str) -> None:
        self.done[request] = event_id
        if len(self.done) > REQUESTS_PER_DEVICE:
            self.done.popitem(last=False)
            self.is_complete = False


class Transactions:
    """Remembers what was done under which transaction ID."""

    def __init__(
        self,
        database: Database,
        repository: TransactionsRepository,
        committer: Committer,
        platform: Platform,
        log: Log,
    ) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform
        self._log = log
        self._devices: BoundedCache[str, _Device] = BoundedCache(DEVICES_IN_MEMORY)
        self._under_way: dict[tuple[str, bytes], list[Waiter[None]]] = {}
        log.follow(self._follow)

    async def once(
        self,
        requester: Requester,
        request: tuple[str, ...],
        txn_id: str,
        work: Callable[[TransactionKey], Awaitable[str]],
    ) -> str:
        """What `work` gives, done once per device, request (endpoint and path variables) and transaction ID.

        `work` must commit a `RecordTransaction` of its key together with what it does. While it is under way, repeats
        wait for it; if it fails, the next one tries again.
        """
        digest = _digest((*request, txn_id))
        key = (requester.transaction_scope, digest)
        while key in self._under_way:
            waiter: Waiter[None] = Waiter()
            self._under_way[key].append(waiter)
            await waiter
        self._under_way[key] = []
        try:
            device = await self._device(requester.transaction_scope)
            event_id = await self._find(device, requester.transaction_scope, digest)
            if event_id is None:
                event_id = await self._do(TransactionKey(requester.transaction_scope, txn_id, digest), work)
                device.remember(digest, event_id)
            return event_id
        finally:
            for waiter in self._under_way.pop(key):
                waiter.succeed(None)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        # What was done at another site is known here from now on.
        for entry in entries:
            if entry.kind == MergeTransaction.kind:
                scope, request, event_id = entry.key
                device = self._devices.peek(scope)
                if device is not None:
                    device.remember(bytes.fromhex(request), event_id)

    async def _do(self, key: TransactionKey, work: Callable[[TransactionKey], Awaitable[str]]) -> str:
        try:
            return await work(key)
        except Conflict:
            # It was done after all: the answer of that commit was lost, or another process did it.
            done = await self._database.read(
                lambda tx: self._repository.find_event_id(tx, key.scope, key.request)
            )
            if done is None:
                raise
            return done

    async def _device(self, scope: str) -> _Device:
        device = self._devices.get(scope)
        if device is None:
            position = self._log.position
            done = await self._database.read(
                lambda tx: self._repository.get_of_scope(tx, scope, REQUESTS_PER_DEVICE)
            )
            # Another request may have been quicker, and may have added to what it read.
            device = self._devices.peek(scope)
            if device is None:
                # What another site did meanwhile may not have been read.
                is_complete = len(done) < REQUESTS_PER_DEVICE and self._log.position == position
                device = _Device(OrderedDict(done), is_complete)
                self._devices.put(scope, device)
        return device

    async def _find(self, device: _Device, scope: str, digest: bytes) -> str | None:
        event_id = device.done.get(digest)
        if event_id is None and not device.is_complete:
            return await self._database.read(lambda tx: self._repository.find_event_id(tx, scope, digest))
        return event_id

    async def clean(self) -> None:
        """Forget what is too old to be repeated."""
        await self._committer.commit(DropTransactions(self._platform.now_ms() - KEPT_MS))


def _digest(parts: tuple[str, ...]) -> bytes:
    hasher = blake2b(digest_size=16)
    for part in parts:
        data = part.encode()
        hasher.update(len(data).to_bytes(4, "big"))
        hasher.update(data)
    return hasher.digest()
