"""Events that other servers passed over, and that are to be sent to them again: table `federation_overlooked`."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

OVERLOOKED: Final = "federation_overlooked"
"""The record of one: (server name, event ID)."""


@dataclass(frozen=True, slots=True)
class OverlookedEvent:
    """`nid` is the event's number."""

    destination: str
    nid: int
    room_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class _OfDestination(Change):
    """What both changes share. It is bookkeeping here, and told to other sites by its records."""

    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    event_ids: tuple[str, ...]

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return [(OVERLOOKED, row) for row in self.rows()]

    def rows(self) -> list[tuple[str, str]]:
        return [(self.destination, event_id) for event_id in self.event_ids]


@dataclass(frozen=True, slots=True)
class NoteOverlooked(_OfDestination):
    """A destination passed over these events: it is to be sent them again."""

    kind: ClassVar[str] = OVERLOOKED

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "INSERT INTO federation_overlooked (destination, event_id) VALUES (?, ?)"
            " ON CONFLICT (destination, event_id) DO NOTHING",
            [row for _, change in changes for row in change.rows()],
        )


@dataclass(frozen=True, slots=True)
class ForgetOverlooked(_OfDestination):
    """It took them, or is not sent them any more."""

    kind: ClassVar[str] = "federation_not_overlooked"

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "DELETE FROM federation_overlooked WHERE destination = ? AND event_id = ?",
            [row for _, change in changes for row in change.rows()],
        )


class OverlookedEventsRepository:
    def get_all(self, tx: Transaction) -> list[OverlookedEvent]:
        """In the order of the events. Those that are not here are left out."""
        rows = tx.all(
            "SELECT o.destination, e.nid, e.room, e.event_id FROM federation_overlooked o"
            " JOIN events e ON e.event_id = o.event_id ORDER BY e.nid"
        )
        rooms = tx.names_of(row[2] for row in rows)
        return [
            OverlookedEvent(destination, nid, rooms[room], event_id)
            for destination, nid, room, event_id in rows
        ]

    def is_noted(self, tx: Transaction, destination: str, event_id: str) -> bool:
        found = tx.value(
            "SELECT 1 FROM federation_overlooked WHERE destination = ? AND event_id = ?",
            (destination, event_id),
        )
        return found is not None
