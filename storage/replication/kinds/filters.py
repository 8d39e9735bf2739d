"""Filters: immutable, named by their digest."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.filters import FiltersRepository, StoreFilter
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = FiltersRepository()
    found = {key: repository.find(tx, *key) for key in keys}
    # As the text that was sent: its digest is its name.
    return {key: content.decode() for key, content in found.items() if content is not None}


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    # One that fell out of the sender's list stays: each site keeps the newest that were uploaded or used there.
    return () if value is None else (StoreFilter(key[0], key[1], value.encode()),)


FILTERS: Final = LastWriterKind(StoreFilter.kind, _read, _write)
