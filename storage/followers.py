"""Durable cursors into the log: how far each follower has come."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


class FollowersRepository:
    def find_position(self, tx: Transaction, name: str) -> int | None:
        """Up to where a follower has dealt with the log; None if it never started."""
        position: int | None = tx.value("SELECT position FROM followers WHERE name = ?", (name,))
        return position


@dataclass(frozen=True, slots=True)
class MoveCursor(Change):
    """A follower has dealt with everything up to `position`."""

    kind: ClassVar[str] = "follower"
    area: ClassVar[str] = "followers"
    logged: ClassVar[bool] = False

    name: str
    position: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        newest = {change.name: change.position for _, change in changes}
        tx.many(
            "INSERT INTO followers (name, position) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET position = excluded.position",
            list(newest.items()),
        )
