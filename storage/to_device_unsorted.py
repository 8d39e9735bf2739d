"""Messages to devices that came lately, each with all its recipients: what storage/to_device_sorting.py sorts."""

from collections.abc import Callable, Iterable, Sequence

import orjson

from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

_Device = tuple[str, str]
"""User ID, device ID."""


@dataclass(frozen=True, slots=True)
class UnsortedEvent:
    """An event of the request at a position of the log, and for whom it is."""

    position: int
    number: int
    event: bytes
    recipients: Sequence[_Device]


def write_unsorted(tx: WriteTransaction, events: Iterable[UnsortedEvent]) -> None:
    tx.later(
        "INSERT INTO to_device_unsorted (position, number, event, recipients) VALUES (?, ?, ?, ?)",
        [(each.position, each.number, each.event, _encode(each.recipients)) for each in events],
    )


def take_unsorted(tx: WriteTransaction, upto: int) -> list[UnsortedEvent]:
    """Remove all up to a position, and return them in their order."""
    rows = tx.all(
        "SELECT position, number, event, recipients FROM to_device_unsorted WHERE position <= ?"
        " ORDER BY position, number",
        (upto,),
    )
    if rows:
        tx.later("DELETE FROM to_device_unsorted WHERE position <= ?", [(upto,)])
    return [UnsortedEvent(position, number, event, _decode(to)) for position, number, event, to in rows]


def take_out(tx: WriteTransaction, is_gone: Callable[[_Device], bool]) -> None:
    """Devices are gone: nothing is for them any more."""
    changed = []
    for position, number, recipients in tx.all("SELECT position, number, recipients FROM to_device_unsorted"):
        devices = _decode(recipients)
        rest = [device for device in devices if not is_gone(device)]
        if len(rest) < len(devices):
            changed.append((_encode(rest), position, number))
    tx.later("UPDATE to_device_unsorted SET recipients = ? WHERE position = ? AND number = ?", changed)


def is_any_unsorted(tx: Transaction) -> bool:
    return tx.value("SELECT position FROM to_device_unsorted LIMIT 1") is not None


def _encode(devices: Sequence[_Device]) -> bytes:
    return orjson.dumps([name for device in devices for name in device])


def _decode(recipients: bytes) -> list[_Device]:
    names = orjson.loads(recipients)
    return list(zip(names[::2], names[1::2], strict=True))
