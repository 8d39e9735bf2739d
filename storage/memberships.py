"""Who is in which room: the present memberships, kept beside the rooms' state because they are asked by user."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

_NUMBERS = {"join": 1, "invite": 2, "knock": 3, "leave": 4, "ban": 5}
_OUTSIDE = (_NUMBERS["invite"], _NUMBERS["knock"])
_WORDS = {number: word for word, number in _NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A user's membership in the room's current state became another (`leave` if the entry is gone)."""

    user_id: str
    membership: str
    event_id: str


@dataclass(frozen=True, slots=True)
class MembershipRow:
    """A user's membership in a room."""

    room_id: str
    user_id: str
    membership: str
    event_nid: int
    position: int
    forgotten: bool


def write_memberships(
    tx: WriteTransaction, changes: Sequence[tuple[int, int, int, int, MembershipChange]]
) -> None:
    """Rows of room, user, event and position as numbers, with the change."""
    newest = {
        (room, user): (room, user, _NUMBERS[change.membership], event, position, 0)
        for room, user, event, position, change in changes
    }
    tx.many(
        "INSERT INTO memberships (room, user_nid, membership, event, position, forgotten) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (room, user_nid) DO UPDATE SET membership = excluded.membership, event = excluded.event,"
        " position = excluded.position, forgotten = excluded.forgotten",
        list(newest.values()),
    )
    # What a room of others showed of itself goes with the invite or the knock that it came with.
    tx.many(
        "DELETE FROM stripped_states WHERE user_nid = ? AND room = ?",
        [(user, room) for room, user, membership, *_ in newest.values() if membership not in _OUTSIDE],
    )


@dataclass(frozen=True, slots=True)
class ForgetRoom(Change):
    """A user who left a room wants to see nothing more of it."""

    kind: ClassVar[str] = "forget"
    area: ClassVar[str] = "rooms"

    user_id: str
    room_id: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.room_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in change.key())
        tx.many(
            "UPDATE memberships SET forgotten = 1 WHERE room = ? AND user_nid = ?",
            [(names[change.room_id], names[change.user_id]) for _, change in changes],
        )


_COLUMNS = "room, user_nid, membership, event, position, forgotten FROM memberships"


class MembershipsRepository:
    """Reads memberships by user and by room."""

    def get_of_user(self, tx: Transaction, user_id: str) -> list[MembershipRow]:
        """Every room that the user ever had a membership in."""
        user = tx.name_id(user_id)
        if user is None:
            return []
        return _rows(tx, tx.all(f"SELECT {_COLUMNS} WHERE user_nid = ?", (user,)))

    def get_of_room(self, tx: Transaction, room_id: str) -> list[MembershipRow]:
        room = tx.name_id(room_id)
        if room is None:
            return []
        return _rows(tx, tx.all(f"SELECT {_COLUMNS} WHERE room = ?", (room,)))

    def get_of_rooms(self, tx: Transaction, room_ids: Iterable[str]) -> dict[str, list[MembershipRow]]:
        """By room, for at most `IN_LIST_LIMIT` rooms."""
        rooms = tx.name_ids(room_ids)
        found: dict[str, list[MembershipRow]] = {room_id: [] for room_id in rooms}
        for row in _rows(tx, tx.all(f"SELECT {_COLUMNS} WHERE room IN (??)", (list(rooms.values()),))):
            found[row.room_id].append(row)
        return found

    def get_first_present(self, tx: Transaction, room_id: str, limit: int) -> list[str]:
        """IDs of the users in a room, or invited to it, whose member events are the oldest; the oldest first."""
        rows = tx.all(
            "SELECT user_nid FROM memberships WHERE room = ? AND membership IN (1, 2) ORDER BY event LIMIT ?",
            (tx.name_id(room_id), limit),
        )
        names = tx.names_of(row[0] for row in rows)
        return [names[row[0]] for row in rows]

    def find(self, tx: Transaction, room_id: str, user_id: str) -> MembershipRow | None:
        ids = tx.name_ids((room_id, user_id))
        if len(ids) < 2:
            return None
        rows = tx.all(f"SELECT {_COLUMNS} WHERE room = ? AND user_nid = ?", (ids[room_id], ids[user_id]))
        return _rows(tx, rows)[0] if rows else None


def _rows(tx: Transaction, rows: Sequence[Row]) -> list[MembershipRow]:
    names = tx.names_of(number for row in rows for number in row[:2])
    return [
        MembershipRow(names[row[0]], names[row[1]], _WORDS[row[2]], row[3], row[4], bool(row[5]))
        for row in rows
    ]
