"""Login tokens: each logs in one client of a user, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from storage.change import Change
from storage.database import WriteTransaction


@dataclass(frozen=True, slots=True)
class CreateLoginToken(Change):
    kind: ClassVar[str] = "login_token"
    area: ClassVar[str] = "login_tokens"
    logged: ClassVar[bool] = False

    digest: bytes
    user_id: str
    now_ms: int
    expires_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.run("DELETE FROM login_tokens WHERE expires_ms <= ?", (changes[-1][1].now_ms,))
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

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [_take(tx, change.digest, change.now_ms) for _, change in changes]


def _take(tx: WriteTransaction, digest: bytes, now_ms: int) -> str | None:
    rows = tx.all("DELETE FROM login_tokens WHERE digest = ? RETURNING user_id, expires_ms", (digest,))
    if not rows or rows[0][1] <= now_ms:
        return None
    user_id: str = rows[0][0]
    return user_id
