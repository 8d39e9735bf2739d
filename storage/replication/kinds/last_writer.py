"""The rule of most kinds: the latest version wins, a deletion like any other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from storage.change import Change
from storage.database import Transaction
from storage.replication.record import Key, Record, Taken, Version
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastWriterKind:
    """A kind whose value is replaced as a whole."""

    name: str
    read_values: Callable[[Transaction, Sequence[Key]], Mapping[Key, Any]]
    write: Callable[[Transaction, Key, Any], Sequence[Change]]
    """The changes that make a value (None: deleted) true; they must not raise `Conflict`."""
    is_of_user: bool = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return self.read_values(tx, keys)

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        if present is not None and present >= record.version:
            return None
        return Taken(self.write(tx, record.key, record.value))
