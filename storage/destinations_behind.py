"""What other servers were not sent while they did not answer, or were too slow: rooms, and since when.

Tables `federation_lagging` and `federation_behind`; forgetting a destination clears `federation_overlooked` and
`federation_to_device` too.
"""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

_FIRST_MARK = 1


@dataclass(frozen=True, slots=True)
class RoomBehind:
    """A destination misses events of a room from `oldest` on, up to `newest` (None: it is still in the room)."""

    room_id: str
    oldest: int
    newest: int | None
    marked: int


@dataclass(frozen=True, slots=True)
class FallBehind(Change):
    """A destination was not sent everything after a position."""

    kind: ClassVar[str] = "sending_behind"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    since: int
    rooms: tuple[RoomBehind, ...]
    """Each room at most once."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "INSERT INTO federation_lagging (destination, since, marks) VALUES (?, ?, ?)"
            " ON CONFLICT (destination) DO UPDATE SET marks = federation_lagging.marks + 1,"
            " since = CASE WHEN excluded.since < federation_lagging.since THEN excluded.since"
            " ELSE federation_lagging.since END",
            list(
                {
                    change.destination: (change.destination, change.since, _FIRST_MARK)
                    for _, change in sorted(changes, key=lambda one: -one[1].since)
                }.values()
            ),
        )
        rooms = tx.intern(room.room_id for _, change in changes for room in change.rooms)
        rows: dict[tuple[str, int], tuple[str, int, int, int | None, int]] = {}
        for _, change in changes:
            for room in change.rooms:
                key = (change.destination, rooms[room.room_id])
                oldest = min(room.oldest, rows[key][2]) if key in rows else room.oldest
                rows[key] = (*key, oldest, room.newest, room.marked)
        tx.many(
            "INSERT INTO federation_behind (destination, room, oldest, newest, marked) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (destination, room) DO UPDATE SET newest = excluded.newest, marked = excluded.marked",
            list(rows.values()),
        )


@dataclass(frozen=True, slots=True)
class SentLatest(Change):
    """A destination has the latest of these rooms, unless it fell behind in them again meanwhile."""

    kind: ClassVar[str] = "sending_latest"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    rooms: tuple[RoomBehind, ...]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        rooms = tx.intern(room.room_id for _, change in changes for room in change.rooms)
        tx.many(
            "DELETE FROM federation_behind WHERE destination = ? AND room = ? AND marked <= ?",
            [
                (change.destination, rooms[room.room_id], room.marked)
                for _, change in changes
                for room in change.rooms
            ],
        )


@dataclass(frozen=True, slots=True)
class PauseSending(Change):
    """A destination that is behind refused what it was sent: it is tried again at a time (ms since 1970)."""

    kind: ClassVar[str] = "sending_pause"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    retry_at_ms: int
    pause_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE federation_lagging SET retry_at = ?, pause = ? WHERE destination = ?",
            [(change.retry_at_ms, change.pause_ms, change.destination) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class RefusedLatest(Change):
    """A destination refused the latest event of a room, which was sent alone. The result tells how often it did."""

    kind: ClassVar[str] = "sending_refused"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    room_id: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        rooms = tx.intern(change.room_id for _, change in changes)
        return [
            tx.value(
                "UPDATE federation_behind SET refused = refused + 1 WHERE destination = ? AND room = ?"
                " RETURNING refused",
                (change.destination, rooms[change.room_id]),
            )
            or 0
            for _, change in changes
        ]


@dataclass(frozen=True, slots=True)
class CaughtUp(Change):
    """A destination misses nothing more. The result tells whether that is so: it may have fallen behind again."""

    kind: ClassVar[str] = "sending_caught_up"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    marks: int
    """As they were when catching up began."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [
            bool(
                tx.all(
                    "DELETE FROM federation_lagging WHERE destination = ? AND marks = ? AND NOT EXISTS"
                    " (SELECT 1 FROM federation_behind b WHERE b.destination = federation_lagging.destination)"
                    " RETURNING destination",
                    (change.destination, change.marks),
                )
            )
            for _, change in changes
        ]


@dataclass(frozen=True, slots=True)
class ForgetDestination(Change):
    """Nothing is to be sent to a server: it is not one that this server talks to."""

    kind: ClassVar[str] = "sending_forget"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = [(change.destination,) for _, change in changes]
        tx.many("DELETE FROM federation_lagging WHERE destination = ?", names)
        tx.many("DELETE FROM federation_behind WHERE destination = ?", names)
        tx.many("DELETE FROM federation_overlooked WHERE destination = ?", names)
        tx.many("DELETE FROM federation_to_device WHERE destination = ?", names)


@dataclass(frozen=True, slots=True)
class Lagging:
    """A destination that is behind, and when it may be tried: 0 for at once."""

    destination: str
    retry_at_ms: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind a destination is, and how long it was left alone after it last refused something."""

    since: int
    marks: int
    pause_ms: int = 0


class DestinationsBehindRepository:
    def get_lagging(self, tx: Transaction) -> list[Lagging]:
        """Every destination that is behind."""
        rows = tx.all(
            "SELECT l.destination, l.retry_at, COALESCE(d.retry_at, 0) FROM federation_lagging l"
            " LEFT JOIN destinations d ON d.name = l.destination"
        )
        return [Lagging(destination, max(retry_times)) for destination, *retry_times in rows]

    def find_lag(self, tx: Transaction, destination: str) -> Lag | None:
        row = tx.one(
            "SELECT since, marks, pause FROM federation_lagging WHERE destination = ?", (destination,)
        )
        return None if row is None else Lag(*row)

    def get_rooms_behind(self, tx: Transaction, destination: str, limit: int) -> list[RoomBehind]:
        """Those that wait longest; behind all others those whose latest event was refused."""
        rows = tx.all(
            "SELECT room, oldest, newest, marked FROM federation_behind WHERE destination = ?"
            " ORDER BY refused, oldest LIMIT ?",
            (destination, limit),
        )
        names = tx.names_of(row[0] for row in rows)
        return [RoomBehind(names[row[0]], *row[1:]) for row in rows]
