"""Requests with a transaction ID: a repeat, also after a crash, gets the first answer and does nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import UniqueViolation


@dataclass(frozen=True, slots=True)
class RecordTransaction(Change):
    """Committed together with what the request did. Raises `Conflict` if it was already done."""

    kind: ClassVar[str] = "transaction"
    area: ClassVar[str] = "transactions"
    logged: ClassVar[bool] = False

    scope: str
    """The device: within it, requests are unique."""
    request: bytes
    """Digest of endpoint, path variables and transaction ID."""
    event_id: str
    """What the request made; empty if it makes no event."""
    at_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.scope, self.request.hex())

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        try:
            tx.many(
                "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)",
                [(change.scope, change.request, change.event_id, change.at_ms) for _, change in changes],
            )
        except UniqueViolation as error:
            raise Conflict("the transaction was already done") from error


@dataclass(frozen=True, slots=True)
class DropTransactions(Change):
    """Forget the requests that nobody repeats any more."""

    kind: ClassVar[str] = "transaction"
    area: ClassVar[str] = "transactions"
    logged: ClassVar[bool] = False

    before_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run("DELETE FROM transactions WHERE at_ms < ?", (change.before_ms,))


class TransactionsRepository:
    """Reads what was answered."""

    def get_of_scope(self, tx: Transaction, scope: str, limit: int) -> dict[bytes, str]:
        """The newest `limit` requests of a device, with what each made; oldest first."""
        rows = tx.all(
            "SELECT request, event_id FROM transactions WHERE scope = ? ORDER BY at_ms DESC LIMIT ?",
            (scope, limit),
        )
        return dict(reversed(rows))

    def find_event_id(self, tx: Transaction, scope: str, request: bytes) -> str | None:
        """What the first request made (empty for no event), or None if there was none."""
        event_id: str | None = tx.value(
            "SELECT event_id FROM transactions WHERE scope = ? AND request = ?", (scope, request)
        )
        return event_id
