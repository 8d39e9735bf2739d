"""Receipts: how far users have read."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

PUBLIC: Final = "m.read"
PRIVATE: Final = "m.read.private"
MAIN_THREAD: Final = "main"

_NUMBERS: Final[Mapping[str, int]] = {PUBLIC: 1, PRIVATE: 2}
_TYPES: Final = {number: name for name, number in _NUMBERS.items()}
_NO_THREAD: Final = 0


@dataclass(frozen=True, slots=True)
class StoreReceipt(Change):
    """A user has read up to an event. One that is behind what is there is ignored."""

    kind: ClassVar[str] = "receipt"
    area: ClassVar[str] = "receipts"

    room_id: str
    user_id: str
    type: str
    """`PUBLIC` or `PRIVATE`."""
    thread_id: str | None
    """`MAIN_THREAD`, a thread's root, or None for a receipt about the whole room."""
    event_id: str
    ordering: int
    """The event's place in the timeline."""
    ts: int

    def key(self) -> tuple[str, ...]:
        return (self.room_id, self.user_id, self.type, self.thread_id or "")

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.user_id, self.room_id, self.type, self.thread_id or "")),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(
            name
            for _, change in changes
            for name in (change.room_id, change.user_id, change.thread_id)
            if name
        )
        furthest: dict[tuple[int, ...], tuple[int, StoreReceipt]] = {}
        for position, change in changes:
            thread = _NO_THREAD if change.thread_id is None else names[change.thread_id]
            key = (names[change.user_id], names[change.room_id], _NUMBERS[change.type], thread)
            if key not in furthest or change.ordering > furthest[key][1].ordering:
                furthest[key] = (position, change)
        tx.many(
            "INSERT INTO receipts (user_nid, room, type, thread, event_id, ordering, ts, position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (user_nid, room, type, thread) DO UPDATE SET event_id = excluded.event_id,"
            " ordering = excluded.ordering, ts = excluded.ts, position = excluded.position"
            " WHERE excluded.ordering > receipts.ordering",
            [
                (*key, change.event_id, change.ordering, change.ts, position)
                for key, (position, change) in furthest.items()
            ],
        )


@dataclass(frozen=True, slots=True)
class MergeReceipt(StoreReceipt):
    """A receipt as another site has it. `ordering` may be further than the event: what was read here stays read."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            tx.run(
                "INSERT INTO receipts (user_nid, room, type, thread, event_id, ordering, ts, position)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (user_nid, room, type, thread) DO UPDATE SET event_id = excluded.event_id,"
                " ordering = excluded.ordering, ts = excluded.ts, position = excluded.position",
                (
                    tx.intern_one(change.user_id),
                    tx.intern_one(change.room_id),
                    _NUMBERS[change.type],
                    _NO_THREAD if change.thread_id is None else tx.intern_one(change.thread_id),
                    change.event_id,
                    change.ordering,
                    change.ts,
                    position,
                ),
            )


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """How far a user has read."""

    room_id: str
    user_id: str
    type: str
    thread_id: str | None
    event_id: str
    ordering: int
    ts: int
    position: int


_COLUMNS = "room, user_nid, type, thread, event_id, ordering, ts, position FROM receipts"


class ReceiptsRepository:
    """Reads receipts for sync, and a user's own."""

    def get_visible(
        self, tx: Transaction, user_id: str, room_ids: Collection[str], after: int, upto: int
    ) -> list[ReceiptRow]:
        """What changed last at positions `after` < p <= `upto`: everybody's public receipts, one's own private ones."""
        user = tx.name_id(user_id)
        rooms = list(tx.name_ids(room_ids).values())
        rows: list[Row] = []
        for start in range(0, len(rooms), IN_LIST_LIMIT):
            rows += tx.all(
                # "Servers MUST NOT send the `m.read.private` receipt to any other user than the one which
                # originally sent it."
                f"SELECT {_COLUMNS} WHERE room IN (??) AND position > ? AND position <= ?"
                " AND (type = 1 OR user_nid = ?) ORDER BY position",
                (rooms[start : start + IN_LIST_LIMIT], after, upto, user),
            )
        return _rows(tx, rows)

    def find(
        self, tx: Transaction, user_id: str, room_id: str, receipt_type: str, thread_id: str
    ) -> ReceiptRow | None:
        """One receipt; the empty thread is none."""
        rows = tx.all(
            f"SELECT {_COLUMNS} WHERE user_nid = ? AND room = ? AND type = ? AND thread = ?",
            (
                tx.name_id(user_id),
                tx.name_id(room_id),
                _NUMBERS[receipt_type],
                tx.name_id(thread_id) if thread_id else _NO_THREAD,
            ),
        )
        return _rows(tx, rows)[0] if rows else None

    def get_public_after(self, tx: Transaction, after: int, limit: int) -> list[ReceiptRow]:
        """Everybody's public ones that changed last after a position: the newest of them, newest first."""
        rows = tx.all(
            f"SELECT {_COLUMNS} WHERE position > ? AND type = 1 ORDER BY position DESC LIMIT ?",
            (after, limit),
        )
        return _rows(tx, rows)

    def get_of_user(self, tx: Transaction, user_id: str, room_ids: Collection[str]) -> list[ReceiptRow]:
        """The user's own ones in these rooms."""
        user = tx.name_id(user_id)
        rooms = list(tx.name_ids(room_ids).values())
        rows: list[Row] = []
        for start in range(0, len(rooms), IN_LIST_LIMIT):
            chunk = rooms[start : start + IN_LIST_LIMIT]
            rows += tx.all(f"SELECT {_COLUMNS} WHERE user_nid = ? AND room IN (??)", (user, chunk))
        return _rows(tx, rows)


def _rows(tx: Transaction, rows: Sequence[Row]) -> list[ReceiptRow]:
    names = tx.names_of(number for row in rows for number in (row[0], row[1], row[3]) if number != _NO_THREAD)
    return [
        ReceiptRow(
            names[row[0]],
            names[row[1]],
            _TYPES[row[2]],
            None if row[3] == _NO_THREAD else names[row[3]],
            *row[4:],
        )
        for row in rows
    ]
