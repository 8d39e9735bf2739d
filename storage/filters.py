"""Filters that clients left here."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

MAX_FILTERS: Final = 500
"""Per user; those uploaded longest ago go first."""


@dataclass(frozen=True, slots=True)
class StoreFilter(Change):
    """A filter, or one more upload of one that is there."""

    kind: ClassVar[str] = "filter"
    area: ClassVar[str] = "filters"

    user_id: str
    filter_id: str
    content: bytes

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.filter_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        newest = {
            (users[change.user_id], change.filter_id): (change.content, position)
            for position, change in changes
        }
        tx.many(
            "INSERT INTO filters (user_nid, filter_id, content, position) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user_nid, filter_id) DO UPDATE SET position = excluded.position",
            [(*key, *value) for key, value in newest.items()],
        )
        for user in {user for user, _ in newest}:
            tx.run(
                "DELETE FROM filters WHERE user_nid = ? AND position <="
                " (SELECT position FROM filters WHERE user_nid = ? ORDER BY position DESC LIMIT 1 OFFSET ?)",
                (user, user, MAX_FILTERS),
            )


class FiltersRepository:
    def find(self, tx: Transaction, user_id: str, filter_id: str) -> bytes | None:
        """The filter as it was sent."""
        content = tx.value(
            "SELECT content FROM filters WHERE user_nid = ? AND filter_id = ?",
            (tx.name_id(user_id), filter_id),
        )
        return None if content is None else bytes(content)
