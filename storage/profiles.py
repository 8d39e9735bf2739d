"""Profiles of local users: fields with JSON values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

MAX_PROFILE_BYTES = 64 * 1024


class ProfileTooLarge(Conflict):
    """With this field, the whole profile would have more than 64 KiB."""


class ProfilesRepository:
    def get(self, tx: Transaction, user_id: str) -> Mapping[str, bytes]:
        """All fields, values as JSON."""
        rows = tx.all("SELECT field, value FROM profiles WHERE user_id = ? ORDER BY field", (user_id,))
        return {field: bytes(value) for field, value in rows}

    def find_field(self, tx: Transaction, user_id: str, field: str) -> bytes | None:
        value = tx.value("SELECT value FROM profiles WHERE user_id = ? AND field = ?", (user_id, field))
        return None if value is None else bytes(value)

    def get_field(self, tx: Transaction, user_ids: Sequence[str], field: str) -> Mapping[str, bytes]:
        """One field of each of these users who has it."""
        found: dict[str, bytes] = {}
        for start in range(0, len(user_ids), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT user_id, value FROM profiles WHERE field = ? AND user_id IN (??)",
                (field, user_ids[start : start + IN_LIST_LIMIT]),
            )
            found.update((user_id, bytes(value)) for user_id, value in rows)
        return found


@dataclass(frozen=True, slots=True)
class SetProfileField(Change):
    """Raises `ProfileTooLarge`."""

    kind: ClassVar[str] = "profile"
    area: ClassVar[str] = "profiles"

    user_id: str
    field: str
    value: bytes
    """Canonical JSON."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.field)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        write_fields(tx, changes)
        users = sorted({change.user_id for _, change in changes})
        for at in range(0, len(users), IN_LIST_LIMIT):
            _check_sizes(tx, users[at : at + IN_LIST_LIMIT])


@dataclass(frozen=True, slots=True)
class NameNewAccount(SetProfileField):
    """The display name that an account begins with, made of its localpart.

    No room shows an older one, and a profile that has nothing else cannot be too large.
    """

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        write_fields(tx, changes)


def _check_sizes(tx: Transaction, user_ids: Sequence[str]) -> None:
    # As one JSON object: braces, and for each field two quotes, a colon and a comma.
    largest = tx.value(
        "SELECT MAX(size) FROM (SELECT 1 + SUM(LENGTH(field) + LENGTH(value) + 4) AS size FROM profiles"
        " WHERE user_id IN (??) GROUP BY user_id) AS profile",
        (user_ids,),
    )
    if largest is not None and largest > MAX_PROFILE_BYTES:
        raise ProfileTooLarge("the profile is too large")


def write_fields(tx: WriteTransaction, changes: Sequence[tuple[int, SetProfileField]]) -> None:
    """Write fields whatever size the profile has with them."""
    # Of several for one field the last one: one statement cannot write a row twice.
    newest = {(change.user_id, change.field): (change.value, position) for position, change in changes}
    tx.later(
        "INSERT INTO profiles (user_id, field, value, position) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value, position = excluded.position",
        [(*key, *values) for key, values in newest.items()],
    )


@dataclass(frozen=True, slots=True)
class DeleteProfileField(Change):
    kind: ClassVar[str] = "profile"
    area: ClassVar[str] = "profiles"

    user_id: str
    field: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.field)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "DELETE FROM profiles WHERE user_id = ? AND field = ?",
            [(change.user_id, change.field) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class ClearProfile(Change):
    """Every field of a user who is gone. Member events do not follow from it."""

    kind: ClassVar[str] = "profile_cleared"
    area: ClassVar[str] = "profiles"

    user_id: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return ((SetProfileField.kind, (self.user_id, field)) for field in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Gives the names of the fields that were there."""
        return [
            tuple(
                row[0]
                for row in tx.all("DELETE FROM profiles WHERE user_id = ? RETURNING field", (change.user_id,))
            )
            for _, change in changes
        ]
