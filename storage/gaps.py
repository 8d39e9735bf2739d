"""Where history is missing in rooms that this server knows a later part of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction


@dataclass(frozen=True, slots=True)
class AddGap(Change):
    """Some prev events of this event are not here."""

    kind: ClassVar[str] = "gap"
    area: ClassVar[str] = "gaps"
    logged: ClassVar[bool] = False

    room_id: str
    event_id: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        tx.many(
            "INSERT INTO gaps (room, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(names[change.room_id], change.event_id) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class CloseGap(Change):
    """What lies before this event is here now, or cannot be had."""

    kind: ClassVar[str] = "gap"
    area: ClassVar[str] = "gaps"
    logged: ClassVar[bool] = False

    room_id: str
    event_id: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        tx.many(
            "DELETE FROM gaps WHERE room = ? AND event_id = ?",
            [(names[change.room_id], change.event_id) for _, change in changes],
        )


class GapsRepository:
    """Reads where history is missing."""

    def get_of_room(self, tx: Transaction, room_id: str) -> list[tuple[str, int]]:
        """Event IDs and their places in the timeline, the latest first."""
        rows = tx.all(
            "SELECT g.event_id, e.ordering FROM gaps g JOIN events e ON e.event_id = g.event_id"
            " WHERE g.room = ? ORDER BY e.ordering DESC",
            (tx.name_id(room_id),),
        )
        return [(row[0], row[1]) for row in rows]
