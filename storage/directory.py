"""Aliases and the public list of rooms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import UniqueViolation


@dataclass(frozen=True, slots=True)
class AliasRow:
    """An alias of this server."""

    alias: str
    room_id: str
    creator: str


@dataclass(frozen=True, slots=True)
class AddAlias(Change):
    """Raises `Conflict` if the alias exists."""

    kind: ClassVar[str] = "alias"
    area: ClassVar[str] = "directory"

    alias: str
    room_id: str
    creator: str

    def key(self) -> tuple[str, ...]:
        return (self.alias,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in (change.room_id, change.creator))
        try:
            tx.many(
                "INSERT INTO room_aliases (alias, room, creator) VALUES (?, ?, ?)",
                [
                    (change.alias.encode(), names[change.room_id], names[change.creator])
                    for _, change in changes
                ],
            )
        except UniqueViolation as error:
            raise Conflict("the alias exists") from error


@dataclass(frozen=True, slots=True)
class RemoveAlias(Change):
    """Does nothing if there is no such alias."""

    kind: ClassVar[str] = "alias"
    area: ClassVar[str] = "directory"

    alias: str

    def key(self) -> tuple[str, ...]:
        return (self.alias,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "DELETE FROM room_aliases WHERE alias = ?", [(change.alias.encode(),) for _, change in changes]
        )


@dataclass(frozen=True, slots=True)
class MoveAliases(Change):
    """All aliases of a room lead to another one from now on (a room upgrade)."""

    kind: ClassVar[str] = "alias_move"
    area: ClassVar[str] = "directory"

    old_room_id: str
    new_room_id: str

    def key(self) -> tuple[str, ...]:
        return (self.old_room_id, self.new_room_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in change.key())
        tx.many(
            "UPDATE room_aliases SET room = ? WHERE room = ?",
            [(names[change.new_room_id], names[change.old_room_id]) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class PublishRoom(Change):
    """Whether the public directory lists a room."""

    kind: ClassVar[str] = "published_room"
    area: ClassVar[str] = "directory"

    room_id: str
    is_public: bool

    def key(self) -> tuple[str, ...]:
        return (self.room_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        for _, change in changes:
            room = names[change.room_id]
            if change.is_public:
                tx.run("INSERT INTO published_rooms (room) VALUES (?) ON CONFLICT (room) DO NOTHING", (room,))
            else:
                tx.run("DELETE FROM published_rooms WHERE room = ?", (room,))


class DirectoryRepository:
    """Reads aliases and the public list."""

    def find_alias(self, tx: Transaction, alias: str) -> AliasRow | None:
        row = tx.one("SELECT room, creator FROM room_aliases WHERE alias = ?", (alias.encode(),))
        if row is None:
            return None
        names = tx.names_of(row)
        return AliasRow(alias, names[row[0]], names[row[1]])

    def get_aliases(self, tx: Transaction, room_id: str) -> list[str]:
        """The aliases of a room, in order."""
        rows = tx.all("SELECT alias FROM room_aliases WHERE room = ?", (tx.name_id(room_id),))
        return sorted(bytes(row[0]).decode() for row in rows)

    def is_published(self, tx: Transaction, room_id: str) -> bool:
        return tx.one("SELECT 1 FROM published_rooms WHERE room = ?", (tx.name_id(room_id),)) is not None

    def get_published(self, tx: Transaction) -> list[str]:
        """IDs of all rooms in the public list."""
        names = tx.names_of(row[0] for row in tx.all("SELECT room FROM published_rooms"))
        return list(names.values())
