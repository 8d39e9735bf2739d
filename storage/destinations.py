"""Servers that do not answer, and when to try them again."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailingDestination:
    """A server that does not answer. Times are milliseconds since 1970."""

    name: str
    failing_since_ms: int
    retry_at_ms: int
    retry_interval_ms: int


class DestinationsRepository:
    def find(self, tx: Transaction, name: str) -> FailingDestination | None:
        """The row of a server that does not answer; None if nothing is wrong with it."""
        row = tx.one(
            "SELECT name, failing_since, retry_at, retry_interval FROM destinations WHERE name = ?", (name,)
        )
        return None if row is None else FailingDestination(*row)

    def get_due(self, tx: Transaction, before_ms: int, limit: int) -> list[FailingDestination]:
        """Those to try again before a time, the longest due first."""
        rows = tx.all(
            "SELECT name, failing_since, retry_at, retry_interval FROM destinations"
            " WHERE retry_at < ? ORDER BY retry_at LIMIT ?",
            (before_ms, limit),
        )
        return [FailingDestination(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class DestinationFailed(Change):
    """A server did not answer. Followers: nothing is sent to it before `row.retry_at_ms`."""

    kind: ClassVar[str] = "destination"
    area: ClassVar[str] = "destinations"

    row: FailingDestination

    def key(self) -> tuple[str, ...]:
        return (self.row.name,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        newest = {change.row.name: change.row for _, change in changes}
        tx.many(
            "INSERT INTO destinations (name, failing_since, retry_at, retry_interval) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET failing_since = excluded.failing_since,"
            " retry_at = excluded.retry_at, retry_interval = excluded.retry_interval",
            [
                (row.name, row.failing_since_ms, row.retry_at_ms, row.retry_interval_ms)
                for row in newest.values()
            ],
        )


@dataclass(frozen=True, slots=True)
class DestinationBack(Change):
    """A server that did not answer does again. Followers: its queue goes on."""

    kind: ClassVar[str] = "destination_back"
    area: ClassVar[str] = "destinations"

    name: str

    def key(self) -> tuple[str, ...]:
        return (self.name,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many("DELETE FROM destinations WHERE name = ?", [(change.name,) for _, change in changes])


@dataclass(frozen=True, slots=True)
class ForgetDestinations(Change):
    """Forget servers that nobody tried again since long ago."""

    kind: ClassVar[str] = "destination"
    area: ClassVar[str] = "destinations"
    logged: ClassVar[bool] = False

    before_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.run("DELETE FROM destinations WHERE retry_at < ?", (max(c.before_ms for _, c in changes),))
