"""Which servers do not answer, and when to try them again: kept in the database, known in memory.

A destination is `answering` (no row) or `failing` (a row). Each failure multiplies the pause, up to the longest (give
or take a fifth); one success, or a request from that server, ends it. Both are entries of the log (kinds `destination`
and `destination_back`), which the queues that send follow.
"""

from collections.abc import Callable, Sequence

from federation.expiring_cache import ExpiringCache
from federation.transport.errors import NotTriedYet
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.destinations import (
    DestinationBack,
    DestinationFailed,
    DestinationsRepository,
    FailingDestination,
    ForgetDestinations,
)
from storage.log import Log
from synapse_like_config.federation import FederationRetries

CACHE_SIZE = 20_000
# Not a bound on truth, which the log keeps: only old entries need not stay.
CACHE_LIFETIME_MS = 24 * 3600 * 1000
JITTER = 0.2
# A server that nobody tried again in this time after it was due is forgotten.
FORGET_AFTER_MS = 30 * 24 * 3600 * 1000


class BackOff:
    """Destinations and their pauses. Made before anything is sent; it follows the log."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        log: Log,
        retries: FederationRetries,
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        """`random` gives numbers from 0 up to 1."""
        self._database = database
        self._committer = committer
        self._retries = retries
        self._now_ms = now_ms
        self._random = random
        self._repository = DestinationsRepository()
        self._cache: ExpiringCache[str, tuple[FailingDestination | None]] = ExpiringCache(CACHE_SIZE, now_ms)
        self._changes = 0
        log.follow(self._hear)

    async def find(self, destination: str) -> FailingDestination | None:
        """The present trouble with a server; None if there is none."""
        known = self._cache.find(destination)
        if known is not None:
            return known[0]
        changes = self._changes
        row = await self._database.read(lambda tx: self._repository.find(tx, destination))
        if changes == self._changes:
            # Else something was committed meanwhile, and the row may be older than that.
            self._remember(destination, row)
        return row

    async def check(self, destination: str) -> None:
        """Raise `NotTriedYet` if nothing is to be sent there at the moment."""
        row = await self.find(destination)
        if row is not None and row.retry_at_ms > self._now_ms():
            raise NotTriedYet(destination, row.retry_at_ms)

    async def failed(self, destination: str) -> None:
        """A request found no server there: pause, longer each time."""
        now_ms = self._now_ms()
        row = await self.find(destination)
        if row is not None and row.retry_at_ms > now_ms:
            # Several requests that were under way together failed together: that is one failure.
            return
        retries = self._retries
        if row is None:
            since_ms, pause_ms = now_ms, retries.destination_min_retry_interval_ms
        else:
            since_ms = row.failing_since_ms
            pause_ms = int(row.retry_interval_ms * retries.destination_retry_multiplier)
        pause_ms = min(pause_ms, retries.destination_max_retry_interval_ms)
        # Some sooner and some later: those who went away together are not all asked in the same moment.
        retry_at_ms = now_ms + int(pause_ms * (1 - JITTER + 2 * JITTER * self._random()))
        await self._committer.commit(
            DestinationFailed(FailingDestination(destination, since_ms, retry_at_ms, pause_ms))
        )

    async def answered(self, destination: str) -> None:
        """The server answered a request, or sent us one: whatever waits for it may go now."""
        if await self.find(destination) is not None:
            await self._committer.commit(DestinationBack(destination))

    async def forget_old(self) -> None:
        """Drop servers that nobody wanted anything of for a month."""
        await self._committer.commit(ForgetDestinations(self._now_ms() - FORGET_AFTER_MS))

    def _hear(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind not in (DestinationFailed.kind, DestinationBack.kind):
                continue
            self._changes += 1
            match entry.change:
                case DestinationFailed(row):
                    self._remember(row.name, row)
                case DestinationBack(name):
                    self._remember(name, None)
                case _:
                    self._cache.drop(entry.key[0])

    def _remember(self, destination: str, row: FailingDestination | None) -> None:
        self._cache.put(destination, (row,), self._now_ms() + CACHE_LIFETIME_MS)
