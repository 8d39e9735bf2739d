"""Where history is missing in rooms that this server knows a later part of.

A hole in a timeline lies right below a place (an ordering). Its gaps are the events above it of which prev events are
not here: where it goes on when it is filled. It is filled from its upper end, and closed with its last gap.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.events import OUTLIER
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AddGap(Change):
    """Some prev events of this event are not here. The log entry makes followers look again at the room's holes."""

    kind: ClassVar[str] = "gap"
    area: ClassVar[str] = "gaps"

    room_id: str
    event_id: str
    below: int | None = None
    """The place of the hole; None: right below the event."""

    def key(self) -> tuple[str, ...]:
        return (self.room_id, self.event_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        # One row per event, the newest: no statement may touch a row twice.
        newest = {change.key(): change for _, change in changes}
        tx.many(
            "INSERT INTO gaps (room, event_id, below) VALUES (?, ?, ?)"
            " ON CONFLICT (room, event_id) DO UPDATE SET below = excluded.below",
            [(names[change.room_id], change.event_id, change.below) for change in newest.values()],
        )


@dataclass(frozen=True, slots=True)
class CloseGap(Change):
    """What lies before this event is here now."""

    kind: ClassVar[str] = "gap"
    area: ClassVar[str] = "gaps"

    room_id: str
    event_id: str

    def key(self) -> tuple[str, ...]:
        return (self.room_id, self.event_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        tx.many(
            "DELETE FROM gaps WHERE room = ? AND event_id = ?",
            [(names[change.room_id], change.event_id) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch of a timeline of which nothing is here."""

    place: int
    """What is missing belongs below this ordering, and above the next event that is here."""
    gaps: tuple[str, ...]
    """IDs of the events whose prev events are missing."""


class GapsRepository:
    """Reads where history is missing."""

    def get_holes(self, tx: Transaction, room_ids: Iterable[str]) -> dict[str, tuple[Hole, ...]]:
        """By room, the latest hole first; rooms without holes are left out."""
        wanted = list(tx.name_ids(room_ids).items())
        names = {number: room_id for room_id, number in wanted}
        found: dict[str, dict[int, list[str]]] = {}
        for start in range(0, len(wanted), IN_LIST_LIMIT):
            chunk = [number for _, number in wanted[start : start + IN_LIST_LIMIT]]
            # What was refused when it came is in no timeline, so nothing is missing below it. Of history, what was
            # refused has its place, and leads on to what is before it.
            rows = tx.all(
                "SELECT g.room, g.event_id, COALESCE(g.below, e.ordering) FROM gaps g"  # noqa: S608
                f" JOIN events e ON e.event_id = g.event_id WHERE g.room IN (??) AND e.flags & {OUTLIER} = 0"
                " AND (e.flags = 0 OR g.below IS NOT NULL) ORDER BY g.event_id",
                (chunk,),
            )
            for room, event_id, place in rows:
                found.setdefault(names[room], {}).setdefault(place, []).append(event_id)
        return {
            room_id: tuple(Hole(place, tuple(places[place])) for place in sorted(places, reverse=True))
            for room_id, places in found.items()
        }

    def find_floor(self, tx: Transaction, room_id: str, place: int) -> int | None:
        """The ordering of the last event of the room's timeline below a place; None if there is none."""
        row = tx.one(
            f"SELECT ordering FROM events WHERE room = ? AND ordering < ? AND flags & {OUTLIER} = 0"  # noqa: S608
            " ORDER BY ordering DESC LIMIT 1",
            (tx.name_id(room_id), place),
        )
        return None if row is None else row[0]
