"""Events that another server passed over: whoever sends next sends them again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.overlooked_events import (
    OVERLOOKED,
    ForgetOverlooked,
    NoteOverlooked,
    OverlookedEventsRepository,
)
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = OverlookedEventsRepository()
    # That it is there is all.
    return {key: True for key in keys if repository.is_noted(tx, *key)}


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    destination, event_id = key
    return ((ForgetOverlooked if value is None else NoteOverlooked)(destination, (event_id,)),)


OVERLOOKED_EVENTS: Final = LastWriterKind(OVERLOOKED, _read, _write, is_of_user=False)
