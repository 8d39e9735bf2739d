"""What was answered to other servers' transactions, so that a repeat is answered the same and done once."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordReceived(Change):
    """A transaction of another server was worked off."""

    kind: ClassVar[str] = "received_transaction"
    area: ClassVar[str] = "received_transactions"
    logged: ClassVar[bool] = False

    origin: str
    txn_id: str
    answer: bytes
    at_ms: int

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.origin, self.txn_id)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "INSERT INTO received_transactions (origin, txn_id, answer, at_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [(change.origin, change.txn_id, change.answer, change.at_ms) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class DropReceived(Change):
    """Forget transactions that nobody repeats any more."""

    kind: ClassVar[str] = "received_transaction"
    area: ClassVar[str] = "received_transactions"
    logged: ClassVar[bool] = False

    before_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            gone = tx.all(
                "DELETE FROM received_transactions WHERE at_ms < ? RETURNING origin, txn_id",
                (change.before_ms,),
            )
            # Each site forgets them by itself.
            RecordIndex().forget(tx, cls.kind, [(row[0], row[1]) for row in gone])


class ReceivedTransactionsRepository:
    """Reads answers."""

    def find(self, tx: Transaction, origin: str, txn_id: str) -> tuple[bytes, int] | None:
        """What was answered, and when."""
        row = tx.one(
            "SELECT answer, at_ms FROM received_transactions WHERE origin = ? AND txn_id = ?",
            (origin, txn_id),
        )
        return None if row is None else (bytes(row[0]), row[1])

    def find_answer(self, tx: Transaction, origin: str, txn_id: str) -> bytes | None:
        answer: bytes | None = tx.value(
            "SELECT answer FROM received_transactions WHERE origin = ? AND txn_id = ?", (origin, txn_id)
        )
        return answer
