"""Rooms: that they exist, their version, and where their graph of events ends."""

from collections.abc import Sequence
from typing import ClassVar, Self

import orjson

from lazy_dataclasses.decorator import dataclass
from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.events import ORDERING_STEP, OUTLIER, REJECTED, SOFT_FAILED


@dataclass(frozen=True, slots=True)
class AddRoom(Change):
    """A room that this server begins to take part in; its first events come in the same submission or later."""

    kind: ClassVar[str] = "room"
    area: ClassVar[str] = "rooms"

    room_id: str
    version: str

    def key(self) -> tuple[str, ...]:
        return (self.room_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        tx.many(
            # A room may be known by an invite before this server takes part in it.
            "INSERT INTO rooms (room, version, heads_at) VALUES (?, ?, ?)"
            " ON CONFLICT (room) DO UPDATE SET version = excluded.version",
            [(names[change.room_id], change.version, 0) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A forward extremity."""

    event_id: str
    nid: int
    snapshot_nid: int


@dataclass(frozen=True, slots=True)
class RoomRow:
    room_id: str
    version: str


_NO_HEADS = REJECTED | SOFT_FAILED | OUTLIER


class RoomsRepository:
    """Reads what there is of rooms."""

    def find(self, tx: Transaction, room_id: str) -> RoomRow | None:
        version = tx.value("SELECT version FROM rooms WHERE room = ?", (tx.name_id(room_id),))
        return None if version is None else RoomRow(room_id, version)

    def get_heads(self, tx: Transaction, room_id: str) -> list[HeadRow]:
        """The forward extremities; none if the server has no accepted event of the room."""
        room = tx.name_id(room_id)
        newest = tx.one(
            "SELECT event_id, nid, snapshot, ordering FROM events WHERE room = ? AND flags = 0"
            " ORDER BY ordering DESC LIMIT 1",
            (room,),
        )
        if newest is None:
            return []
        stored = tx.one("SELECT heads_at, heads FROM rooms WHERE room = ?", (room,))
        # The position that the newest event came at tells, not its number, which it may have had as an outlier.
        if stored is None or stored[1] is None or stored[0] < newest[3] // ORDERING_STEP:
            return [HeadRow(*newest[:3])]
        rows = tx.all(
            "SELECT event_id, nid, snapshot FROM events WHERE event_id IN (??)", (orjson.loads(stored[1]),)
        )
        return [HeadRow(*row) for row in rows]
