"""Whom a user ignores: asked for every sync, so kept in memory.

Source: client-server API, "Ignoring Users".
"""

from collections.abc import Sequence
from typing import Final

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.push.member_rules import parse_ignored_users
from storage.account_data import NO_ROOM, AccountDataRepository
from storage.change import LogEntry
from storage.database import Database
from storage.log import Log

IGNORED_USER_LIST: Final = "m.ignored_user_list"


class IgnoredUsers:
    """The account data `m.ignored_user_list`, kept true by following the log."""

    def __init__(self, database: Database, repository: AccountDataRepository, log: Log, size: int) -> None:
        self._database = database
        self._repository = repository
        self._log = log
        self._known: BoundedCache[str, frozenset[str]] = BoundedCache(size)
        log.follow(self._follow)

    async def ignored_by(self, user_id: str) -> frozenset[str]:
        """IDs of the users whom a user ignores."""
        known = self._known.get(user_id)
        if known is not None:
            return known
        position = self._log.position
        row = await self._database.read(
            lambda tx: self._repository.find(tx, user_id, NO_ROOM, IGNORED_USER_LIST)
        )
        ignored = parse_ignored_users(None if row is None else row.content)
        # A change that came in between may not be in what was read.
        if self._log.position == position:
            self._known.put(user_id, ignored)
        return ignored

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "account_data" and entry.key[1:] == (NO_ROOM, IGNORED_USER_LIST):
                self._known.drop(entry.key[0])
