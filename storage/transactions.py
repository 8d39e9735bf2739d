"""Requests with a transaction ID: a repeat, also after a crash, gets the first answer and does nothing."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

TRANSACTION: Final = "transaction"
"""The record of a request: (scope, digest in hex)."""


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

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((TRANSACTION, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.later(
            "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)",
            [(change.scope, change.request, change.event_id, change.at_ms) for _, change in changes],
            taken=Conflict("the transaction was already done"),
        )


@dataclass(frozen=True, slots=True)
class MergeTransaction(Change):
    """A request that was done at another site, first if it was done here too."""

    kind: ClassVar[str] = "transaction_merged"
    area: ClassVar[str] = "transactions"

    scope: str
    request: bytes
    event_id: str
    at_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.scope, self.request.hex(), self.event_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run(
                "INSERT INTO transactions (scope, request, event_id, at_ms) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (scope, request) DO UPDATE SET event_id = excluded.event_id, at_ms = excluded.at_ms",
                (change.scope, change.request, change.event_id, change.at_ms),
            )


@dataclass(frozen=True, slots=True)
class SupersededSend(Change):
    """An event was made here by a request that another site had done already: it is to be taken back."""

    kind: ClassVar[str] = "superseded_send"
    area: ClassVar[str] = "transactions"

    scope: str
    event_id: str

    def key(self) -> tuple[str, ...]:
        return (self.scope, self.event_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        # The entry of the log is all there is.
        return


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
            gone = tx.all(
                "DELETE FROM transactions WHERE at_ms < ? RETURNING scope, request", (change.before_ms,)
            )
            # Each site forgets them by itself.
            keys = [(scope, bytes(request).hex()) for scope, request in gone]
            RecordIndex().forget(tx, TRANSACTION, keys)


class TransactionsRepository:
    """Reads what was answered."""

    def get_of_scope(self, tx: Transaction, scope: str, limit: int) -> dict[bytes, str]:
        """The newest `limit` requests of a device, with what each made; oldest first."""
        rows = tx.all(
            "SELECT request, event_id FROM transactions WHERE scope = ? ORDER BY at_ms DESC LIMIT ?",
            (scope, limit),
        )
        return dict(reversed(rows))

    def find(self, tx: Transaction, scope: str, request: bytes) -> tuple[str, int] | None:
        """What a request made, and when."""
        row = tx.one(
            "SELECT event_id, at_ms FROM transactions WHERE scope = ? AND request = ?", (scope, request)
        )
        return None if row is None else (row[0], row[1])

    def find_event_id(self, tx: Transaction, scope: str, request: bytes) -> str | None:
        """What the first request made (empty for no event), or None if there was none."""
        event_id: str | None = tx.value(
            "SELECT event_id FROM transactions WHERE scope = ? AND request = ?", (scope, request)
        )
        return event_id
