"""What member events say of this server's users, kept in memory: every join and invite asks."""

from collections.abc import Mapping, Sequence

import orjson

from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.database import Database
from storage.log import Log
from storage.profiles import ProfilesRepository

CACHE_SIZE = 20_000
_FIELDS = ("displayname", "avatar_url")


class ProfileCache:
    """Display names and avatars, true by following the log."""

    def __init__(self, database: Database, repository: ProfilesRepository, log: Log) -> None:
        self._database = database
        self._repository = repository
        self._log = log
        self._profiles: BoundedCache[str, Mapping[str, str]] = BoundedCache(CACHE_SIZE)
        log.follow(self._follow)

    async def member_fields(self, user_id: str) -> Mapping[str, str]:
        """`displayname` and `avatar_url`, as far as they are set; nothing for users of other servers."""
        fields = self._profiles.get(user_id)
        if fields is None:
            position = self._log.position
            stored = await self._database.read(lambda tx: self._repository.get(tx, user_id))
            values = {name: orjson.loads(stored[name]) for name in _FIELDS if name in stored}
            fields = {name: value for name, value in values.items() if isinstance(value, str)}
            # What changed while we read may or may not be in it: not to be kept.
            if self._log.position == position:
                self._profiles.put(user_id, fields)
        return fields

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind in ("profile", "profile_cleared"):
                self._profiles.drop(entry.key[0])
