"""What sites sign of the document that tells this server's keys to others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


class SiteKeySignaturesRepository:
    def get_all(self, tx: Transaction) -> Mapping[tuple[int, str], str]:
        """By the end of the document's validity and key ID. There are few: old ones are forgotten."""
        rows = tx.all("SELECT valid_until, key_id, signature FROM site_key_signatures")
        return {(valid_until, key_id): signature for valid_until, key_id, signature in rows}

    def find(self, tx: Transaction, valid_until: int, key_id: str) -> str | None:
        signature: str | None = tx.value(
            "SELECT signature FROM site_key_signatures WHERE valid_until = ? AND key_id = ?",
            (valid_until, key_id),
        )
        return signature


@dataclass(frozen=True, slots=True)
class StoreKeySignature(Change):
    """A site signed the document that is valid until then (milliseconds since 1970)."""

    kind: ClassVar[str] = "site_key_signature"
    area: ClassVar[str] = "site_key_signatures"

    valid_until: int
    key_id: str
    signature: str

    def key(self) -> tuple[str, ...]:
        return (str(self.valid_until), self.key_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run(
                "INSERT INTO site_key_signatures (valid_until, key_id, signature) VALUES (?, ?, ?)"
                " ON CONFLICT (valid_until, key_id) DO UPDATE SET signature = excluded.signature",
                (change.valid_until, change.key_id, change.signature),
            )


@dataclass(frozen=True, slots=True)
class ForgetKeySignatures(Change):
    """Of documents that are valid no more. Each site forgets for itself."""

    kind: ClassVar[str] = "site_key_signatures_forgotten"
    area: ClassVar[str] = "site_key_signatures"
    logged: ClassVar[bool] = False

    before_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        before = max(change.before_ms for _, change in changes)
        tx.run("DELETE FROM site_key_signatures WHERE valid_until < ?", (before,))
