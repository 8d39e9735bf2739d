"""Addresses that guess passwords: banned for longer each time.

Ten failures: five minutes. Ten more: a week. Ten more, and each ten after that: two months.
"""

import ipaddress
from collections.abc import Callable, Sequence

from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import LimitExceeded
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database
from storage.log import Log
from storage.login_bans import (
    BanRules,
    ForgetLoginFailures,
    LoginBansRepository,
    MergeLoginBan,
    RecordLoginFailure,
)
from synapse_like_config.lazy_dataclasses import dataclass

_DAY_MS = 24 * 3600 * 1000
RULES = BanRules(
    failures=10,
    durations_ms=(5 * 60 * 1000, 7 * _DAY_MS, 61 * _DAY_MS),
    # Somebody who mistypes now and then is not kept out.
    forget_failures_ms=_DAY_MS,
    forget_bans_ms=61 * _DAY_MS,
)


_KINDS = frozenset({RecordLoginFailure.kind, MergeLoginBan.kind})
"""Entries of the log after which an address may be banned."""

MAX_REMEMBERED = 10_000
"""Addresses that went on although they are banned."""


@dataclass(frozen=True, slots=True)
class SeenFailures:
    """What was read before a password was looked at."""

    changes: int
    """`LoginBans.changes` before the reading."""
    is_counted: bool


class LoginBans:
    """Counts failed logins by address (`address_key`) and refuses those that are banned. Kept over restarts."""

    def __init__(self, database: Database, committer: Committer, log: Log, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._committer = committer
        self._now_ms = now_ms
        self._bans = LoginBansRepository()
        self._changes = 0
        self._ends_ms: BoundedCache[str, int] = BoundedCache(MAX_REMEMBERED)
        log.follow(self._follow)

    @property
    def changes(self) -> int:
        """How often something was counted or banned since the start, on this site or, as far as it heard, elsewhere."""
        return self._changes

    def check_ended(self, until_ms: int | None) -> None:
        """Raise `LimitExceeded` before `until_ms`, when the ban of an address ends; None: it never had one."""
        if until_ms is not None and until_ms > self._now_ms():
            raise LimitExceeded("Too many failed logins from this address.", until_ms - self._now_ms())

    def check_remembered(self, address: str) -> None:
        """Raise `LimitExceeded` if this address was refused before, and would be again."""
        self.check_ended(self._ends_ms.get(address))

    def remember(self, address: str, refusal: LimitExceeded) -> None:
        """`check_ended` refused this address just now. A ban is never taken back before its end."""
        self._ends_ms.put(address, self._now_ms() + refusal.retry_after_ms)

    async def record_failure(self, address: str, user_id: str) -> None:
        await self._committer.commit(RecordLoginFailure(address, user_id, self._now_ms(), RULES))

    async def forget_failures(self, address: str, user_id: str, seen: SeenFailures) -> None:
        """After a right password: forget the failures of this account, not those of others, which may be guesses.

        Raises `LimitExceeded` if the address was banned meanwhile: of many guesses at once, the right one may be
        among those that came after the tenth.
        """
        is_counted = seen.is_counted
        if seen.changes != self._changes:
            until_ms, is_counted = await self._database.ask(
                lambda tx: self._bans.find_ban_end_ms_and_failures(tx, address, user_id)
            )
            self.check_ended(until_ms)
        if is_counted:
            await self._committer.commit(ForgetLoginFailures(address, user_id))

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        self._changes += any(entry.kind in _KINDS for entry in entries)


def address_key(address: str) -> str:
    """What is counted: an IPv4 address, or the /64 network that one customer of an IPv6 provider has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
