"""What a user does not want to see: whom they ignore, and whether they take invites. Asked for every sync.

Source: client-server API, "Ignoring Users" and "Invite permission".
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.push.member_rules import parse_ignored_users
from storage.account_data import NO_ROOM, AccountDataRepository
from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass

IGNORED_USER_LIST: Final = "m.ignored_user_list"
INVITE_PERMISSION: Final = "m.invite_permission_config"


@dataclass(frozen=True, slots=True)
class _Known:
    ignored: frozenset[str]
    blocks_invites: bool


class PersonalRules:
    """Read from account data, kept in memory, kept true by following the log."""

    def __init__(self, database: Database, repository: AccountDataRepository, log: Log, size: int) -> None:
        self._database = database
        self._repository = repository
        self._log = log
        self._known: BoundedCache[str, _Known] = BoundedCache(size)
        log.follow(self._follow)

    async def ignored(self, user_id: str) -> frozenset[str]:
        """IDs of the users whom a user ignores."""
        return (await self._get(user_id)).ignored

    async def blocks_invites(self, user_id: str) -> bool:
        """Whether the user takes no invites at all."""
        return (await self._get(user_id)).blocks_invites

    async def _get(self, user_id: str) -> _Known:
        known = self._known.get(user_id)
        if known is not None:
            return known
        position = self._log.position
        known = await self._database.read(lambda tx: self._read(tx, user_id))
        # A change that came in between may not be in what was read.
        if self._log.position == position:
            self._known.put(user_id, known)
        return known

    def _read(self, tx: Transaction, user_id: str) -> _Known:
        ignored = self._repository.find(tx, user_id, NO_ROOM, IGNORED_USER_LIST)
        invites = self._repository.find(tx, user_id, NO_ROOM, INVITE_PERMISSION)
        permission: Any = {} if invites is None else orjson.loads(invites.content)
        return _Known(
            parse_ignored_users(None if ignored is None else ignored.content),
            permission.get("default_action") == "block",
        )

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "account_data" and entry.key[2] in (IGNORED_USER_LIST, INVITE_PERMISSION):
                self._known.drop(entry.key[0])
