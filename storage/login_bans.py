"""Failed logins by address, and the bans that follow from them."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

LOGIN_BAN: Final = "login_ban"
"""The record of an address's ban: (address)."""
LOGIN_FAILURE: Final = "login_failure"
"""The record of what counts against an address: (address, user ID)."""


@dataclass(frozen=True, slots=True)
class LoginBan:
    level: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class LoginFailures:
    failures: int
    last_ms: int


class LoginBansRepository:
    def find_ban(self, tx: Transaction, address: str) -> LoginBan | None:
        row = tx.one("SELECT level, until_ms FROM login_bans WHERE address = ?", (address,))
        return None if row is None else LoginBan(*row)

    def find_failures(self, tx: Transaction, address: str, user_id: str) -> LoginFailures | None:
        row = tx.one(
            "SELECT failures, last_ms FROM login_failures WHERE address = ? AND user_id = ?",
            (address, user_id),
        )
        return None if row is None else LoginFailures(*row)

    def find_ban_end_ms_and_failures(
        self, tx: Transaction, address: str, user_id: str
    ) -> tuple[int | None, bool]:
        """Until when the address is or was banned last, and whether anything counts against it for this account."""
        row = tx.one(
            "SELECT (SELECT until_ms FROM login_bans WHERE address = ?),"
            " (SELECT 1 FROM login_failures WHERE address = ? AND user_id = ?)",
            (address, address, user_id),
        )
        assert row is not None
        until_ms, counted = row
        return until_ms, counted is not None


@dataclass(frozen=True, slots=True)
class BanRules:
    """After how many failures an address is banned, for how long each time, and when failures are forgotten."""

    failures: int
    durations_ms: tuple[int, ...]
    forget_failures_ms: int
    forget_bans_ms: int


@dataclass(frozen=True, slots=True)
class RecordLoginFailure(Change):
    """One more wrong password. Its result is True if the address is banned from now on."""

    kind: ClassVar[str] = "login_failure"
    area: ClassVar[str] = "login_bans"

    address: str
    user_id: str
    at_ms: int
    rules: BanRules

    def key(self) -> tuple[str, ...]:
        return (self.address, self.user_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((LOGIN_BAN, (self.address,)),) if result is True else ((LOGIN_FAILURE, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [_record(tx, change) for _, change in changes]


def _record(tx: WriteTransaction, failure: RecordLoginFailure) -> bool:
    rules = failure.rules
    old = failure.at_ms - rules.forget_failures_ms
    _forget(tx, tx.all("DELETE FROM login_failures WHERE last_ms < ? RETURNING address, user_id", (old,)))
    tx.run(
        "INSERT INTO login_failures (address, user_id, failures, last_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (address, user_id) DO UPDATE SET failures = login_failures.failures + 1,"
        " last_ms = excluded.last_ms",
        (failure.address, failure.user_id, 1, failure.at_ms),
    )
    count = tx.value("SELECT SUM(failures) FROM login_failures WHERE address = ?", (failure.address,))
    if count < rules.failures:
        return False
    _begin_anew(tx, failure.address)
    bans = tx.all(
        "DELETE FROM login_bans WHERE until_ms < ? RETURNING address", (failure.at_ms - rules.forget_bans_ms,)
    )
    RecordIndex().forget(tx, LOGIN_BAN, [(row[0],) for row in bans])
    level = tx.value("SELECT level FROM login_bans WHERE address = ?", (failure.address,)) or 0
    until_ms = failure.at_ms + rules.durations_ms[min(level, len(rules.durations_ms) - 1)]
    tx.run(
        "INSERT INTO login_bans (address, level, until_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (address) DO UPDATE SET level = excluded.level, until_ms = excluded.until_ms",
        (failure.address, level + 1, until_ms),
    )
    return True


def _begin_anew(tx: WriteTransaction, address: str) -> None:
    """Whoever is banned is counted from the beginning afterwards."""
    sql = "DELETE FROM login_failures WHERE address = ? RETURNING address, user_id"
    _forget(tx, tx.all(sql, (address,)))


def _forget(tx: WriteTransaction, gone: Sequence[Row]) -> None:
    # Each site forgets by itself: nobody needs to be told.
    RecordIndex().forget(tx, LOGIN_FAILURE, [(row[0], row[1]) for row in gone])


@dataclass(frozen=True, slots=True)
class MergeLoginBan(Change):
    """A ban as it is with what another site knows of the address."""

    kind: ClassVar[str] = "login_ban"
    area: ClassVar[str] = "login_bans"

    address: str
    ban: LoginBan

    def key(self) -> tuple[str, ...]:
        return (self.address,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            _begin_anew(tx, change.address)
            tx.run(
                "INSERT INTO login_bans (address, level, until_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (address) DO UPDATE SET level = excluded.level, until_ms = excluded.until_ms",
                (change.address, change.ban.level, change.ban.until_ms),
            )


@dataclass(frozen=True, slots=True)
class MergeLoginFailures(Change):
    """What counts against an address with what another site has seen of it."""

    kind: ClassVar[str] = "login_failure"
    area: ClassVar[str] = "login_bans"

    address: str
    user_id: str
    failures: LoginFailures

    def key(self) -> tuple[str, ...]:
        return (self.address, self.user_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run(
                "INSERT INTO login_failures (address, user_id, failures, last_ms) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (address, user_id) DO UPDATE SET failures = excluded.failures,"
                " last_ms = excluded.last_ms",
                (change.address, change.user_id, change.failures.failures, change.failures.last_ms),
            )


@dataclass(frozen=True, slots=True)
class ForgetLoginFailures(Change):
    """The right password after all: what was counted for this account is forgotten, and nothing else."""

    kind: ClassVar[str] = "login_failure"
    area: ClassVar[str] = "login_bans"

    address: str
    user_id: str

    def key(self) -> tuple[str, ...]:
        return (self.address, self.user_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((LOGIN_FAILURE, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "DELETE FROM login_failures WHERE address = ? AND user_id = ?",
            [(change.address, change.user_id) for _, change in changes],
        )
