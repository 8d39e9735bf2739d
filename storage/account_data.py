"""Account data: what users keep here for their own clients, for themselves and per room."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

NO_ROOM: Final = ""
"""In place of a room ID: account data about no room."""

_NO_ROOM_NID: Final = 0


@dataclass(frozen=True, slots=True)
class SetAccountData(Change):
    """Raises `Conflict` if it was made from a content that is not there any more."""

    kind: ClassVar[str] = "account_data"
    area: ClassVar[str] = "account_data"

    user_id: str
    room_id: str
    """`NO_ROOM` for global account data."""
    type: str
    content: bytes
    """JSON object."""
    based_on: int | None = None
    """Position of the row that this content was made from, 0 if there was none; None: whatever is there goes."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.room_id, self.type)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in change.key() if name != NO_ROOM)
        names[NO_ROOM] = _NO_ROOM_NID
        newest: dict[tuple[int, int, int], tuple[int, bytes]] = {}
        for position, change in changes:
            key = (names[change.user_id], names[change.room_id], names[change.type])
            if change.based_on is not None:
                present = newest[key][0] if key in newest else _position(tx, key)
                if present != change.based_on:
                    raise Conflict("the account data has changed meanwhile")
            newest[key] = (position, change.content)
        tx.many(
            "INSERT INTO account_data (user_nid, room, type, content, position) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (user_nid, room, type) DO UPDATE SET content = excluded.content,"
            " position = excluded.position",
            [(*key, content, position) for key, (position, content) in newest.items()],
        )


@dataclass(frozen=True, slots=True)
class AccountDataRow:
    """One piece of account data."""

    room_id: str
    type: str
    content: bytes
    position: int


ENTRY_BYTES = 512
"""What an entry counts for besides its content."""

_COLUMNS = "room, type, content, position FROM account_data"


class AccountDataRepository:
    """Reads a user's account data."""

    def find(self, tx: Transaction, user_id: str, room_id: str, event_type: str) -> AccountDataRow | None:
        names = tx.name_ids((user_id, event_type) if room_id == NO_ROOM else (user_id, room_id, event_type))
        names[NO_ROOM] = _NO_ROOM_NID
        if user_id not in names or room_id not in names or event_type not in names:
            return None
        rows = tx.all(
            f"SELECT {_COLUMNS} WHERE user_nid = ? AND room = ? AND type = ?",
            (names[user_id], names[room_id], names[event_type]),
        )
        return _rows(tx, rows)[0] if rows else None

    def get_all(self, tx: Transaction, user_id: str) -> list[AccountDataRow]:
        """All of the user's, for all rooms too."""
        return _rows(tx, tx.all(f"SELECT {_COLUMNS} WHERE user_nid = ?", (tx.name_id(user_id),)))

    def get_changed(self, tx: Transaction, user_id: str, after: int, upto: int) -> list[AccountDataRow]:
        """What changed last at positions `after` < p <= `upto`."""
        rows = tx.all(
            f"SELECT {_COLUMNS} WHERE user_nid = ? AND position > ? AND position <= ? ORDER BY position",
            (tx.name_id(user_id), after, upto),
        )
        return _rows(tx, rows)

    def get_size(self, tx: Transaction, user_id: str) -> int:
        """Bytes of all of the user's, with something for each entry."""
        sql = "SELECT COALESCE(SUM(LENGTH(content) + ?), 0) FROM account_data WHERE user_nid = ?"
        return int(tx.value(sql, (ENTRY_BYTES, tx.name_id(user_id))))

    def get_of_room(self, tx: Transaction, user_id: str, room_id: str) -> list[AccountDataRow]:
        """The user's for one room (`NO_ROOM`: the global ones)."""
        room = _NO_ROOM_NID if room_id == NO_ROOM else tx.name_id(room_id)
        return _rows(
            tx, tx.all(f"SELECT {_COLUMNS} WHERE user_nid = ? AND room = ?", (tx.name_id(user_id), room))
        )


def _position(tx: Transaction, key: tuple[int, int, int]) -> int:
    position = tx.value("SELECT position FROM account_data WHERE user_nid = ? AND room = ? AND type = ?", key)
    return 0 if position is None else int(position)


def _rows(tx: Transaction, rows: Sequence[Row]) -> list[AccountDataRow]:
    names = tx.names_of(number for row in rows for number in row[:2] if number != _NO_ROOM_NID)
    names[_NO_ROOM_NID] = NO_ROOM
    return [AccountDataRow(names[row[0]], names[row[1]], bytes(row[2]), row[3]) for row in rows]
