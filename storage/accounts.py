"""Accounts: who has one, with which password, and what an administrator said about it."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass


class AccountExists(Conflict):
    """The user ID is taken, perhaps by a deactivated account."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account. `password_hash` is None if nobody logs in with a password."""

    user_id: str
    password_hash: str | None
    created_ms: int
    is_guest: bool
    is_admin: bool
    user_type: str | None
    is_deactivated: bool
    is_erased: bool
    is_locked: bool
    is_suspended: bool


ACCOUNT_COLUMNS: Final = (
    "accounts.user_id, accounts.password_hash, accounts.created_ms, accounts.is_guest, accounts.is_admin,"
    " accounts.user_type, accounts.is_deactivated, accounts.is_erased, accounts.is_locked, accounts.is_suspended"
)
_COLUMNS = f"{ACCOUNT_COLUMNS} FROM accounts"


def account_row(row: Row) -> AccountRow:
    """What `ACCOUNT_COLUMNS` gave."""
    user_id, password_hash, created_ms, is_guest, is_admin, user_type, *flags = row
    is_deactivated, is_erased, is_locked, is_suspended = map(bool, flags)
    return AccountRow(
        user_id=user_id,
        password_hash=password_hash,
        created_ms=created_ms,
        is_guest=bool(is_guest),
        is_admin=bool(is_admin),
        user_type=user_type,
        is_deactivated=is_deactivated,
        is_erased=is_erased,
        is_locked=is_locked,
        is_suspended=is_suspended,
    )


class AccountsRepository:
    def find(self, tx: Transaction, user_id: str) -> AccountRow | None:
        row = tx.one(f"SELECT {_COLUMNS} WHERE user_id = ?", (user_id,))
        return None if row is None else account_row(row)

    def get(self, tx: Transaction, user_ids: Sequence[str]) -> Mapping[str, AccountRow]:
        """Those of the users who have an account."""
        found: dict[str, AccountRow] = {}
        for start in range(0, len(user_ids), IN_LIST_LIMIT):
            rows = tx.all(
                f"SELECT {_COLUMNS} WHERE user_id IN (??)", (user_ids[start : start + IN_LIST_LIMIT],)
            )
            found.update((row[0], account_row(row)) for row in rows)
        return found

    def find_incarnation(self, tx: Transaction, user_id: str) -> str | None:
        """Which of the accounts that sites apart may have made with this name this is; None: there is none."""
        incarnation: str | None = tx.value("SELECT incarnation FROM accounts WHERE user_id = ?", (user_id,))
        return incarnation

    def get_incarnations(self, tx: Transaction, user_ids: Sequence[str]) -> Mapping[str, str]:
        """Of those users who have an account."""
        found: dict[str, str] = {}
        for start in range(0, len(user_ids), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT user_id, incarnation FROM accounts WHERE user_id IN (??)",
                (user_ids[start : start + IN_LIST_LIMIT],),
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    def exists(self, tx: Transaction, user_id: str) -> bool:
        """Whether the name is taken; deactivated accounts keep theirs."""
        return tx.one("SELECT 1 FROM accounts WHERE user_id = ?", (user_id,)) is not None

    def find_first(self, tx: Transaction) -> str | None:
        """The oldest account that is no guest's. Goes through all of them: not for anything that happens often."""
        user_id: str | None = tx.value(
            "SELECT user_id FROM accounts WHERE is_guest = 0 ORDER BY created_ms, user_id LIMIT 1"
        )
        return user_id

    def get_guests_among(self, tx: Transaction, user_ids: Sequence[str]) -> list[str]:
        """Those of the users who are guests."""
        found: list[str] = []
        for start in range(0, len(user_ids), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT user_id FROM accounts WHERE is_guest = 1 AND user_id IN (??)",
                (user_ids[start : start + IN_LIST_LIMIT],),
            )
            found += (row[0] for row in rows)
        return found


@dataclass(frozen=True, slots=True)
class CreateAccount(Change):
    """Raises `AccountExists`."""

    kind: ClassVar[str] = "account"
    area: ClassVar[str] = "accounts"

    user_id: str
    password_hash: str | None
    created_ms: int
    is_guest: bool
    is_admin: bool
    user_type: str | None
    incarnation: str = ""
    """What tells this account from one that is made with the same name on another site."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return (
            ("account", (self.user_id,)),
            ("account.password", (self.user_id,)),
            ("account.flag", (self.user_id, AccountFlag.ADMIN.value)),
        )

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.later(
            "INSERT INTO accounts (user_id, password_hash, created_ms, is_guest, is_admin, user_type,"
            " is_deactivated, is_erased, is_locked, is_suspended, position, incarnation)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    change.user_id,
                    change.password_hash,
                    change.created_ms,
                    int(change.is_guest),
                    int(change.is_admin),
                    change.user_type,
                    *(0, 0, 0, 0),
                    position,
                    change.incarnation,
                )
                for position, change in changes
            ],
            AccountExists("the user ID is taken"),
        )


@dataclass(frozen=True, slots=True)
class SetPasswordHash(Change):
    """A new password, or none any more."""

    kind: ClassVar[str] = "account"
    area: ClassVar[str] = "accounts"

    user_id: str
    password_hash: str | None

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return (("account.password", (self.user_id,)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE accounts SET password_hash = ?, position = ? WHERE user_id = ? AND is_deactivated = 0",
            [(change.password_hash, position, change.user_id) for position, change in changes],
        )


class AccountFlag(Enum):
    """What can be said of an account and taken back. The values are columns."""

    ADMIN = "is_admin"
    LOCKED = "is_locked"
    SUSPENDED = "is_suspended"


@dataclass(frozen=True, slots=True)
class SetAccountFlag(Change):
    kind: ClassVar[str] = "account"
    area: ClassVar[str] = "accounts"

    user_id: str
    flag: AccountFlag
    value: bool

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return (("account.flag", (self.user_id, self.flag.value)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            tx.run(
                f"UPDATE accounts SET {change.flag.value} = ?, position = ? WHERE user_id = ?",  # noqa: S608
                (int(change.value), position, change.user_id),
            )


@dataclass(frozen=True, slots=True)
class DeactivateAccount(Change):
    """Nobody logs in to it any more. Followers take the user out of the rooms."""

    kind: ClassVar[str] = "account_deactivated"
    area: ClassVar[str] = "accounts"

    user_id: str
    erase: bool

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return (("account.deactivated", (self.user_id,)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE accounts SET password_hash = NULL, is_deactivated = 1, is_admin = 0, is_erased = ?, position = ?"
            " WHERE user_id = ?",
            [(int(change.erase), position, change.user_id) for position, change in changes],
        )


@dataclass(frozen=True, slots=True)
class MergeAccount(Change):
    """An account that was made on another site: new here, or in place of a later one with the same name.

    Password and flags come by changes of their own.
    """

    kind: ClassVar[str] = "account"
    area: ClassVar[str] = "accounts"

    user_id: str
    created_ms: int
    is_guest: bool
    user_type: str | None
    incarnation: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            tx.run(
                "INSERT INTO accounts (user_id, password_hash, created_ms, is_guest, is_admin, user_type,"
                " is_deactivated, is_erased, is_locked, is_suspended, position, incarnation)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (user_id) DO UPDATE SET password_hash = NULL, created_ms = excluded.created_ms,"
                " is_guest = excluded.is_guest, is_admin = 0, user_type = excluded.user_type, is_deactivated = 0,"
                " is_erased = 0, is_locked = 0, is_suspended = 0, position = excluded.position,"
                " incarnation = excluded.incarnation",
                (
                    change.user_id,
                    None,
                    change.created_ms,
                    int(change.is_guest),
                    0,
                    change.user_type,
                    *(0, 0, 0, 0),
                    position,
                    change.incarnation,
                ),
            )


@dataclass(frozen=True, slots=True)
class AccountLost(Change):
    """A name that was registered here belongs to who registered it on another site before: for followers."""

    kind: ClassVar[str] = "account_lost"
    area: ClassVar[str] = "accounts"

    user_id: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        return None
