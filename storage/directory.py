"""Aliases and the public list of rooms."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import UniqueViolation
from synapse_like_config.lazy_dataclasses import dataclass

ALIAS_ROOM: Final = "alias.room"
"""The record of which room an alias leads to; whose it is, is one of its own."""


@dataclass(frozen=True, slots=True)
class AliasRow:
    """An alias of this server."""

    alias: str
    room_id: str
    creator: str


@dataclass(frozen=True, slots=True)
class AliasClaim:
    """An alias that is, or (`alias` is None) was; a claim after a removal is of the next generation."""

    generation: int
    alias: AliasRow | None


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

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()), (ALIAS_ROOM, self.key()))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in (change.room_id, change.creator))
        try:
            tx.many(
                "INSERT INTO room_aliases (alias, room, creator, generation) VALUES (?, ?, ?, ?)",
                [
                    (
                        change.alias.encode(),
                        names[change.room_id],
                        names[change.creator],
                        _next_generation(tx, change.alias),
                    )
                    for _, change in changes
                ],
            )
        except UniqueViolation as error:
            raise Conflict("the alias exists") from error


@dataclass(frozen=True, slots=True)
class MergeAlias(Change):
    """An alias as another site has it, in place of what is here."""

    kind: ClassVar[str] = "alias"
    area: ClassVar[str] = "directory"

    alias: str
    room_id: str
    creator: str
    generation: int

    def key(self) -> tuple[str, ...]:
        return (self.alias,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in (change.room_id, change.creator))
        for _, change in changes:
            tx.run(
                "INSERT INTO room_aliases (alias, room, creator, generation) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (alias) DO UPDATE SET room = excluded.room, creator = excluded.creator,"
                " generation = excluded.generation",
                (change.alias.encode(), names[change.room_id], names[change.creator], change.generation),
            )


@dataclass(frozen=True, slots=True)
class RemoveAlias(Change):
    """Does nothing if there is no such alias."""

    kind: ClassVar[str] = "alias"
    area: ClassVar[str] = "directory"

    alias: str

    def key(self) -> tuple[str, ...]:
        return (self.alias,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            rows = tx.all(
                "DELETE FROM room_aliases WHERE alias = ? RETURNING generation", (change.alias.encode(),)
            )
            for (generation,) in rows:
                _write_removal(tx, change.alias, generation)


def _write_removal(tx: WriteTransaction, alias: str, generation: int) -> None:
    tx.run(
        "INSERT INTO removed_aliases (alias, generation) VALUES (?, ?)"
        " ON CONFLICT (alias) DO UPDATE SET generation = excluded.generation",
        (alias.encode(), generation),
    )


def _next_generation(tx: Transaction, alias: str) -> int:
    removed = tx.value("SELECT generation FROM removed_aliases WHERE alias = ?", (alias.encode(),))
    return 0 if removed is None else int(removed) + 1


@dataclass(frozen=True, slots=True)
class MergeRemovedAlias(Change):
    """An alias that was removed on another site."""

    kind: ClassVar[str] = "alias"
    area: ClassVar[str] = "directory"

    alias: str
    generation: int

    def key(self) -> tuple[str, ...]:
        return (self.alias,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run("DELETE FROM room_aliases WHERE alias = ?", (change.alias.encode(),))
            _write_removal(tx, change.alias, change.generation)


@dataclass(frozen=True, slots=True)
class MoveAliases(Change):
    """All aliases of a room lead to another one from now on (a room upgrade)."""

    kind: ClassVar[str] = "alias_move"
    area: ClassVar[str] = "directory"

    old_room_id: str
    new_room_id: str

    def key(self) -> tuple[str, ...]:
        return (self.old_room_id, self.new_room_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return ((ALIAS_ROOM, (alias,)) for alias in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Gives the aliases that were moved."""
        names = tx.intern(name for _, change in changes for name in change.key())
        return [
            tuple(
                bytes(row[0]).decode()
                for row in tx.all(
                    "UPDATE room_aliases SET room = ? WHERE room = ? RETURNING alias",
                    (names[change.new_room_id], names[change.old_room_id]),
                )
            )
            for _, change in changes
        ]


@dataclass(frozen=True, slots=True)
class PublishRoom(Change):
    """Whether the public directory lists a room."""

    kind: ClassVar[str] = "published_room"
    area: ClassVar[str] = "directory"

    room_id: str
    is_public: bool

    def key(self) -> tuple[str, ...]:
        return (self.room_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

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

    def find_claim(self, tx: Transaction, alias: str) -> AliasClaim | None:
        """How an alias stands between sites; None if it never was."""
        row = tx.one("SELECT generation FROM room_aliases WHERE alias = ?", (alias.encode(),))
        if row is not None:
            return AliasClaim(row[0], self.find_alias(tx, alias))
        row = tx.one("SELECT generation FROM removed_aliases WHERE alias = ?", (alias.encode(),))
        return None if row is None else AliasClaim(row[0], None)

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
