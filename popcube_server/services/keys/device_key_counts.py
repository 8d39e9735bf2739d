"""How many one-time keys a device has left, and which fallback keys are unused: every sync says so."""

from collections.abc import Sequence

from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.database import Database
from storage.log import Log
from storage.one_time_keys import ClaimOneTimeKeys, DeviceKeyCounts, OneTimeKeysRepository
from storage.replication.own_site import LoseSites, SeePeerLog
from storage.replication.wipe_user import WipeUser
from storage.to_device import pairs

_KINDS_OF_ALL = frozenset({SeePeerLog.kind, LoseSites.kind, WipeUser.kind})
"""After which the keys of many devices may be gone."""
_KINDS = frozenset({"one_time_keys", "device_keys_removed"})


class KeyCounts:
    """Counts per device, in memory once they were asked for, and true by following the log."""

    def __init__(self, database: Database, log: Log, size: int) -> None:
        self._database = database
        self._log = log
        self._repository = OneTimeKeysRepository()
        self.cache: BoundedCache[tuple[str, str], DeviceKeyCounts] = BoundedCache(size)
        log.follow(self._follow)

    def find_cached(self, user_id: str, device_id: str) -> DeviceKeyCounts | None:
        """As `of` if that is in memory."""
        return self.cache.get((user_id, device_id))

    async def of(self, user_id: str, device_id: str) -> DeviceKeyCounts:
        cached = self.cache.get((user_id, device_id))
        if cached is not None:
            return cached
        position = self._log.position
        counts = await self._database.read(lambda tx: self._repository.get_counts(tx, user_id, device_id))
        # If they were changed meanwhile, this may be the state of before: true enough for an answer, which will be
        # followed by another, but not to be kept. What else is committed does not matter: on a busy server something
        # always is.
        since = self._log.since(position)
        if since is not None and not any(_may_change(entry, user_id, device_id) for entry in since):
            self.cache.put((user_id, device_id), counts)
        return counts

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind in _KINDS_OF_ALL:
                self.cache.clear()
            elif entry.kind in _KINDS:
                for device_id in entry.key[1:]:
                    self.cache.drop((entry.key[0], device_id))
            elif entry.kind == ClaimOneTimeKeys.kind:
                for device in pairs(entry.key):
                    self.cache.drop(device)


def _may_change(entry: LogEntry, user_id: str, device_id: str) -> bool:
    if entry.kind == ClaimOneTimeKeys.kind:
        return (user_id, device_id) in pairs(entry.key)
    return entry.kind in _KINDS_OF_ALL or (
        entry.kind in _KINDS and entry.key[0] == user_id and device_id in entry.key[1:]
    )
