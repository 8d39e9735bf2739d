"""The room directory: the earliest claim keeps an alias; where it leads, and what is published, is last writer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.directory import (
    ALIAS_ROOM,
    AddAlias,
    AliasClaim,
    DirectoryRepository,
    MergeAlias,
    MergeRemovedAlias,
    PublishRoom,
)
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key, Record, Taken, Version


class AliasKind:
    """Whose an alias is.

    States are totally ordered, and the greater one stays: by generation; within one, a removal is above all claims, and
    earlier claims are above later ones.
    """

    name: Final = AddAlias.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        repository = DirectoryRepository()
        claims = {key: repository.find_claim(tx, key[0]) for key in keys}
        return {key: _claim_value(claim) for key, claim in claims.items() if claim is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        (alias,) = record.key
        value = record.value
        if value is None:
            return None
        ours = DirectoryRepository().find_claim(tx, alias)
        if ours is not None and not self._is_above(record, ours, present):
            return None
        if "room_id" not in value:
            return Taken((MergeRemovedAlias(alias, value["generation"]),))
        return Taken((MergeAlias(alias, value["room_id"], value["creator"], value["generation"]),))

    def _is_above(self, record: Record, ours: AliasClaim, present: Version | None) -> bool:
        generation, is_removed = record.value["generation"], "room_id" not in record.value
        if generation != ours.generation:
            return bool(generation > ours.generation)
        if is_removed or ours.alias is None:
            return is_removed and ours.alias is not None
        # Ours is from before there were several sites, if it has no version.
        return present is not None and record.version < present


def _claim_value(claim: AliasClaim) -> Mapping[str, Any]:
    if claim.alias is None:
        return {"generation": claim.generation}
    return {
        "generation": claim.generation,
        "room_id": claim.alias.room_id,
        "creator": claim.alias.creator,
    }


def _read_rooms(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = DirectoryRepository()
    rows = {key: repository.find_alias(tx, key[0]) for key in keys}
    return {key: row.room_id for key, row in rows.items() if row is not None}


def _write_room(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    claim = DirectoryRepository().find_claim(tx, key[0])
    if claim is None or claim.alias is None or value is None:
        # The claim itself decides whether there is an alias.
        return ()
    return (MergeAlias(key[0], value, claim.alias.creator, claim.generation),)


def _read_published(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = DirectoryRepository()
    return {key: True for key in keys if repository.is_published(tx, key[0])}


def _write_published(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    return (PublishRoom(key[0], value is True),)


DIRECTORY: Final = (
    AliasKind(),
    LastWriterKind(ALIAS_ROOM, _read_rooms, _write_room, is_of_user=False),
    LastWriterKind(PublishRoom.kind, _read_published, _write_published, is_of_user=False),
)
