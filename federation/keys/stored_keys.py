"""Other servers' keys as they are known here: in the database, and of the servers heard of last in memory."""

from collections.abc import Callable, Mapping, Sequence

from federation.expiring_cache import ExpiringCache
from federation.keys.server_keys import ServerKeys, VerifyKey
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.log import Log
from storage.server_keys import KeyDocumentRow, ServerKeyRow, ServerKeysRepository, StoreServerKeys

CACHE_SIZE = 10_000
# The log keeps entries true; this only lets go of what nobody asks for.
CACHE_LIFETIME_MS = 24 * 3600 * 1000


class StoredKeys:
    """Reads, writes, and follows the log for what other processes of this site wrote."""

    def __init__(self, database: Database, committer: Committer, log: Log, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._committer = committer
        self._now_ms = now_ms
        self._repository = ServerKeysRepository()
        self._cache: ExpiringCache[str, Mapping[str, VerifyKey]] = ExpiringCache(CACHE_SIZE, now_ms)
        self._changes = 0
        log.follow(self._hear)

    @property
    def cache(self) -> ExpiringCache[str, Mapping[str, VerifyKey]]:
        """For metrics."""
        return self._cache

    async def get(self, server_name: str) -> Mapping[str, VerifyKey]:
        """Every key that is known of a server, by ID."""
        known = self._cache.find(server_name)
        if known is not None:
            return known
        changes = self._changes
        rows = await self._database.read(lambda tx: self._repository.get_of_server(tx, server_name))
        keys = {
            row.key_id: VerifyKey(row.key_id, row.verify_key, row.valid_until_ms, row.is_old) for row in rows
        }
        if changes == self._changes and keys:
            # Servers of which nothing is known are left out: strangers can make up any number of them.
            self._cache.put(server_name, keys, self._now_ms() + CACHE_LIFETIME_MS)
        return keys

    async def get_documents(self, server_name: str) -> list[KeyDocumentRow]:
        """What a server published, the newest first."""
        return await self._database.read(lambda tx: self._repository.get_documents(tx, server_name))

    async def store_direct(self, found: ServerKeys) -> None:
        """What a server told of itself: keys that it does not list any more have no say from now on."""
        await self._committer.commit(_change(found, came_directly=True))

    async def store_told(self, found: Sequence[ServerKeys]) -> None:
        """What notaries told, which may be older than what is known already."""
        if found:
            await self._committer.commit(*(_change(keys, came_directly=False) for keys in found))

    def _hear(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == StoreServerKeys.kind:
                self._changes += 1
                self._cache.drop(entry.key[0])


def _change(found: ServerKeys, *, came_directly: bool) -> StoreServerKeys:
    rows = tuple(ServerKeyRow(key.key_id, key.key, key.valid_until_ms, key.is_old) for key in found.keys)
    return StoreServerKeys(
        found.server_name, found.document, found.fetched_at_ms, found.valid_until_ms, rows, came_directly
    )
