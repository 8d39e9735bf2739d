"""What rooms of other servers show of themselves to local users who are invited or knock."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

import orjson

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

OUTSIDE_MEMBER: Final = "outside_member"
"""The kind of record that tells how a user stands in a room that this server is not in."""


@dataclass(frozen=True, slots=True)
class StrippedRow:
    """JSON of each entry, and servers that know the room."""

    entries: tuple[bytes, ...]
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepStripped(Change):
    """Stripped state came with an invite, or in answer to a knock."""

    kind: ClassVar[str] = "stripped_state"
    area: ClassVar[str] = "stripped_states"
    logged: ClassVar[bool] = False

    user_id: str
    room_id: str
    entries: tuple[bytes, ...]
    servers: tuple[str, ...]

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((OUTSIDE_MEMBER, (self.user_id, self.room_id)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in (change.user_id, change.room_id))
        newest = {(change.user_id, change.room_id): change for _, change in changes}
        tx.many(
            "INSERT INTO stripped_states (user_nid, room, entries, servers) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user_nid, room) DO UPDATE SET entries = excluded.entries, servers = excluded.servers",
            [
                (
                    names[user_id],
                    names[room_id],
                    b"[%b]" % b",".join(change.entries),
                    orjson.dumps(change.servers),
                )
                for (user_id, room_id), change in newest.items()
            ],
        )


@dataclass(frozen=True, slots=True)
class DropStripped(Change):
    """The user is neither invited nor knocking any more, or this server has the room itself."""

    kind: ClassVar[str] = "stripped_state"
    area: ClassVar[str] = "stripped_states"
    logged: ClassVar[bool] = False

    user_id: str
    room_id: str

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((OUTSIDE_MEMBER, (self.user_id, self.room_id)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in (change.user_id, change.room_id))
        tx.many(
            "DELETE FROM stripped_states WHERE user_nid = ? AND room = ?",
            [(names[change.user_id], names[change.room_id]) for _, change in changes],
        )


class StrippedStatesRepository:
    """Reads stripped state."""

    def find(self, tx: Transaction, user_id: str, room_id: str) -> StrippedRow | None:
        ids = tx.name_ids((user_id, room_id))
        row = tx.one(
            "SELECT entries, servers FROM stripped_states WHERE user_nid = ? AND room = ?",
            (ids.get(user_id), ids.get(room_id)),
        )
        if row is None:
            return None
        entries = tuple(orjson.dumps(entry) for entry in orjson.loads(row[0]))
        return StrippedRow(entries, tuple(orjson.loads(row[1])))
