"""Suspended accounts: they may read, leave, redact their own messages, keep their keys, log out, and little else."""

from collections.abc import Sequence

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import WithCode
from popcube_server.services.requester import Requester
from storage.accounts import AccountsRepository
from storage.change import LogEntry
from storage.database import Database
from storage.log import Log

CACHE_SIZE = 20_000
_KINDS = frozenset(("account", "account_deactivated"))


def check_not_suspended(requester: Requester) -> None:
    """Raise M_USER_SUSPENDED if the caller is suspended."""
    if requester.is_suspended:
        raise _refusal()


class AccountSuspensions:
    """Whether accounts are suspended, for those who have a user ID and no requester. Cached, true by the log."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log
        self._accounts = AccountsRepository()
        self._known: BoundedCache[str, bool] = BoundedCache(CACHE_SIZE)
        log.follow(self._follow)

    async def check_not_suspended(self, user_id: str) -> None:
        """Raise M_USER_SUSPENDED if the account is."""
        suspended = self._known.get(user_id)
        if suspended is None:
            position = self._log.position
            account = await self._database.read(lambda tx: self._accounts.find(tx, user_id))
            suspended = account is not None and account.is_suspended
            # What changed while we read may or may not be in it: not to be kept.
            if self._log.position == position:
                self._known.put(user_id, suspended)
        if suspended:
            raise _refusal()

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind in _KINDS:
                self._known.drop(entry.key[0])


def _refusal() -> WithCode:
    return WithCode(403, "M_USER_SUSPENDED", "This account is suspended.")
