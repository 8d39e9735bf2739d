"""Rooms: that they exist, their version, and where their graph of events ends."""

from collections.abc import Sequence
from typing import ClassVar, Self

import orjson

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.events import ORDERING_STEP, OUTLIER, REJECTED, SOFT_FAILED
from synapse_like_config.lazy_dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class RoomWithHeads:
    """A room that the server takes part in."""

    version: str
    heads: list[HeadRow]
    """Its forward extremities, one at least."""


_NEWEST = (
    "SELECT room, event_id, nid, snapshot, ordering FROM events WHERE room = ? AND flags = 0"
    " ORDER BY ordering DESC LIMIT 1"
)
_NO_HEADS = REJECTED | SOFT_FAILED | OUTLIER


class RoomsRepository:
    """Reads what there is of rooms."""

    def find(self, tx: Transaction, room_id: str) -> RoomRow | None:
        version = tx.value("SELECT version FROM rooms WHERE room = ?", (tx.name_id(room_id),))
        return None if version is None else RoomRow(room_id, version)

    def get_heads(self, tx: Transaction, room_id: str) -> list[HeadRow]:
        """The forward extremities; none if the server has no accepted event of the room."""
        found = self.get_many(tx, (room_id,)).get(room_id)
        return [] if found is None else found.heads

    def get_many(self, tx: Transaction, room_ids: Sequence[str]) -> dict[str, RoomWithHeads]:
        """At most `IN_LIST_LIMIT` rooms, by ID; without those that the server has no accepted event of."""
        ids = tx.name_ids(room_ids)
        newest = {row[0]: row[1:] for row in tx.each(_NEWEST, [(room,) for room in ids.values()])}
        rows = tx.all("SELECT room, version, heads_at, heads FROM rooms WHERE room IN (??)", (list(newest),))
        found: dict[str, RoomWithHeads] = {}
        several: dict[str, RoomWithHeads] = {}
        names = {number: room_id for room_id, number in ids.items()}
        for room, version, heads_at, heads in rows:
            room_id = names[room]
            event_id, nid, snapshot, ordering = newest[room]
            found[room_id] = RoomWithHeads(version, [])
            # The position that the newest event came at tells, not its number, which it may have had as an outlier.
            if heads is None or heads_at < ordering // ORDERING_STEP:
                found[room_id].heads.append(HeadRow(event_id, nid, snapshot))
            else:
                several.update((head, found[room_id]) for head in orjson.loads(heads))
        wanted = list(several)
        for start in range(0, len(wanted), IN_LIST_LIMIT):
            chunk = wanted[start : start + IN_LIST_LIMIT]
            for row in tx.all("SELECT event_id, nid, snapshot FROM events WHERE event_id IN (??)", (chunk,)):
                several[row[0]].heads.append(HeadRow(*row))
        return found
