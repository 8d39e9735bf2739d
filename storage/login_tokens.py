"""Login tokens: each logs in one client of a user, once."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

LOGIN_TOKEN: Final = "login_token"  # noqa: S105
"""The record of a token: (digest in hex)."""


@dataclass(frozen=True, slots=True)
class LoginTokenRow:
    user_id: str
    expires_ms: int
    is_used: bool


class LoginTokensRepository:
    def find(self, tx: Transaction, digest: bytes) -> LoginTokenRow | None:
        row = tx.one("SELECT user_id, expires_ms, used FROM login_tokens WHERE digest = ?", (digest,))
        return None if row is None else LoginTokenRow(row[0], row[1], bool(row[2]))


@dataclass(frozen=True, slots=True)
class CreateLoginToken(Change):
    kind: ClassVar[str] = "login_token"
    area: ClassVar[str] = "login_tokens"
    logged: ClassVar[bool] = False

    digest: bytes
    user_id: str
    now_ms: int
    expires_ms: int

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((LOGIN_TOKEN, (self.digest.hex(),)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        gone = tx.all(
            "DELETE FROM login_tokens WHERE expires_ms <= ? RETURNING digest", (changes[-1][1].now_ms,)
        )
        RecordIndex().forget(tx, LOGIN_TOKEN, [(bytes(row[0]).hex(),) for row in gone])
        tx.many(
            "INSERT INTO login_tokens (digest, user_id, expires_ms) VALUES (?, ?, ?)",
            [(change.digest, change.user_id, change.expires_ms) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class TakeLoginToken(Change):
    """Uses a token up. Its result is the user ID, or None if the token is unknown, used or expired."""

    kind: ClassVar[str] = "login_token"
    area: ClassVar[str] = "login_tokens"
    logged: ClassVar[bool] = False

    digest: bytes
    now_ms: int

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return () if result is None else ((LOGIN_TOKEN, (self.digest.hex(),)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [_take(tx, change.digest, change.now_ms) for _, change in changes]


def _take(tx: WriteTransaction, digest: bytes, now_ms: int) -> str | None:
    rows = tx.all(
        "UPDATE login_tokens SET used = 1 WHERE digest = ? AND used = 0 RETURNING user_id, expires_ms",
        (digest,),
    )
    if not rows or rows[0][1] <= now_ms:
        return None
    user_id: str = rows[0][0]
    return user_id


@dataclass(frozen=True, slots=True)
class MergeLoginToken(Change):
    """A token as another site has it; that it was used is for good."""

    kind: ClassVar[str] = "login_token"
    area: ClassVar[str] = "login_tokens"
    logged: ClassVar[bool] = False

    digest: bytes
    row: LoginTokenRow

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run(
                "INSERT INTO login_tokens (digest, user_id, expires_ms, used) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (digest) DO UPDATE SET used = excluded.used WHERE excluded.used > login_tokens.used",
                (change.digest, change.row.user_id, change.row.expires_ms, int(change.row.is_used)),
            )
