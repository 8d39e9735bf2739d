"""Profiles: last writer per user and field."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import orjson

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.profiles import DeleteProfileField, ProfilesRepository, SetProfileField, write_fields
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MergeProfileField(SetProfileField):
    """A field that another site answered with success: fields set apart may together exceed the limit."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        write_fields(tx, changes)


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = ProfilesRepository()
    values = {key: repository.find_field(tx, *key) for key in keys}
    return {key: orjson.loads(value) for key, value in values.items() if value is not None}


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    user_id, field = key
    if value is None:
        return (DeleteProfileField(user_id, field),)
    return (MergeProfileField(user_id, field, orjson.dumps(value, option=orjson.OPT_SORT_KEYS)),)


PROFILES: Final = LastWriterKind(SetProfileField.kind, _read, _write)
