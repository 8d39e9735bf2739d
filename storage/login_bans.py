"""Failed logins by address, and the bans that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction


class LoginBansRepository:
    def find_ban_end_ms(self, tx: Transaction, address: str) -> int | None:
        """Until when the address is or was banned last."""
        until_ms: int | None = tx.value("SELECT until_ms FROM login_bans WHERE address = ?", (address,))
        return until_ms

    def has_failures(self, tx: Transaction, address: str, user_id: str) -> bool:
        """Whether anything counts against the address for this account."""
        sql = "SELECT 1 FROM login_failures WHERE address = ? AND user_id = ?"
        return tx.one(sql, (address, user_id)) is not None


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

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [_record(tx, change) for _, change in changes]


def _record(tx: WriteTransaction, failure: RecordLoginFailure) -> bool:
    rules = failure.rules
    tx.run("DELETE FROM login_failures WHERE last_ms < ?", (failure.at_ms - rules.forget_failures_ms,))
    tx.run(
        "INSERT INTO login_failures (address, user_id, failures, last_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (address, user_id) DO UPDATE SET failures = login_failures.failures + 1,"
        " last_ms = excluded.last_ms",
        (failure.address, failure.user_id, 1, failure.at_ms),
    )
    count = tx.value("SELECT SUM(failures) FROM login_failures WHERE address = ?", (failure.address,))
    if count < rules.failures:
        return False
    tx.run("DELETE FROM login_failures WHERE address = ?", (failure.address,))
    tx.run("DELETE FROM login_bans WHERE until_ms < ?", (failure.at_ms - rules.forget_bans_ms,))
    level = tx.value("SELECT level FROM login_bans WHERE address = ?", (failure.address,)) or 0
    until_ms = failure.at_ms + rules.durations_ms[min(level, len(rules.durations_ms) - 1)]
    tx.run(
        "INSERT INTO login_bans (address, level, until_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (address) DO UPDATE SET level = excluded.level, until_ms = excluded.until_ms",
        (failure.address, level + 1, until_ms),
    )
    return True


@dataclass(frozen=True, slots=True)
class ForgetLoginFailures(Change):
    """The right password after all: what was counted for this account is forgotten, and nothing else."""

    kind: ClassVar[str] = "login_failure"
    area: ClassVar[str] = "login_bans"

    address: str
    user_id: str

    def key(self) -> tuple[str, ...]:
        return (self.address, self.user_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "DELETE FROM login_failures WHERE address = ? AND user_id = ?",
            [(change.address, change.user_id) for _, change in changes],
        )
