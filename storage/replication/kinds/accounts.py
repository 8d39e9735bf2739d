"""Accounts: the earliest claim keeps a name; password and flags are last writer; deactivation is for good."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.accounts import (
    AccountFlag,
    AccountLost,
    AccountRow,
    AccountsRepository,
    DeactivateAccount,
    MergeAccount,
    SetAccountFlag,
    SetPasswordHash,
)
from storage.change import Change
from storage.database import Transaction
from storage.replication.apply_records import ACCOUNT
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key, Record, Taken, Version
from storage.replication.wipe_user import WipeUser


class AccountKind:
    """That an account exists. Not of the user, since it is what decides whose the name is."""

    name: Final = ACCOUNT
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return {
            key: {
                "created_ms": row.created_ms,
                "is_guest": row.is_guest,
                "user_type": row.user_type,
                "incarnation": AccountsRepository().find_incarnation(tx, row.user_id),
            }
            for key, row in _rows(tx, keys).items()
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        (user_id,) = record.key
        value = record.value
        known = AccountsRepository().find_incarnation(tx, user_id)
        made = MergeAccount(
            user_id, value["created_ms"], value["is_guest"], value["user_type"], value["incarnation"]
        )
        if known is None:
            return Taken((made,))
        if known == value["incarnation"] or present is None or present < record.version:
            # Ours is the same one, or the earlier one: whoever made the later one hears of it.
            return None
        return Taken((WipeUser(user_id), made, AccountLost(user_id)))


def _rows(tx: Transaction, keys: Sequence[Key]) -> dict[Key, AccountRow]:
    repository = AccountsRepository()
    rows = {key: repository.find(tx, key[0]) for key in keys}
    return {key: row for key, row in rows.items() if row is not None}


def _read_passwords(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    return {key: row.password_hash for key, row in _rows(tx, keys).items() if row.password_hash is not None}


def _write_password(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    return (SetPasswordHash(key[0], value),)


def _read_flags(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    return {key: getattr(row, key[1]) for key, row in _rows(tx, keys).items()}


def _write_flag(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    return (SetAccountFlag(key[0], AccountFlag(key[1]), value is True),)


class DeactivatedKind:
    """That an account was deactivated. There is no way back."""

    name: Final = "account.deactivated"
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return {key: {"erase": row.is_erased} for key, row in _rows(tx, keys).items() if row.is_deactivated}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        if record.value is None or (present is not None and present >= record.version):
            return None
        return Taken((DeactivateAccount(record.key[0], record.value["erase"] is True),))


ACCOUNTS: Final = (
    AccountKind(),
    LastWriterKind("account.password", _read_passwords, _write_password),
    LastWriterKind("account.flag", _read_flags, _write_flag),
    DeactivatedKind(),
)
