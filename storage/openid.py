"""Tokens by which users prove to a third party who they are."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AddOpenIdToken(Change):
    """A new token; those that ended before it was made are dropped."""

    kind: ClassVar[str] = "openid_token"
    area: ClassVar[str] = "openid"

    digest: bytes
    user_id: str
    expires_at_ms: int
    now_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.digest.hex(),)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        gone = tx.all(
            "DELETE FROM openid_tokens WHERE expires_at_ms < ? RETURNING digest",
            (max(change.now_ms for _, change in changes),),
        )
        RecordIndex().forget(tx, cls.kind, [(bytes(row[0]).hex(),) for row in gone])
        tx.many(
            "INSERT INTO openid_tokens (digest, user_id, expires_at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(change.digest, change.user_id, change.expires_at_ms) for _, change in changes],
        )


class OpenIdRepository:
    def find(self, tx: Transaction, digest: bytes) -> tuple[str, int] | None:
        """Whose token it is, and when it ends."""
        row = tx.one("SELECT user_id, expires_at_ms FROM openid_tokens WHERE digest = ?", (digest,))
        return None if row is None else (row[0], row[1])

    def find_user(self, tx: Transaction, digest: bytes, now_ms: int) -> str | None:
        """Whose token it is, if it still counts."""
        user_id: str | None = tx.value(
            "SELECT user_id FROM openid_tokens WHERE digest = ? AND expires_at_ms > ?", (digest, now_ms)
        )
        return user_id
