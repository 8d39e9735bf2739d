"""Devices: last writer for their existence, and last writer for their names."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.device_keys import RemoveDeviceKeys
from storage.device_lists import DeviceListChanged
from storage.devices import NAME, AddDevice, DeleteDevice, DeviceRow, DevicesRepository, RenameDevice
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key
from storage.to_device import RemoveToDeviceMessages


def _rows(tx: Transaction, keys: Sequence[Key]) -> dict[Key, DeviceRow]:
    repository = DevicesRepository()
    rows = {key: repository.find(tx, *key) for key in keys}
    return {key: row for key, row in rows.items() if row is not None}


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    return {
        key: {"created_ms": row.created_ms, "display_name": row.display_name}
        for key, row in _rows(tx, keys).items()
    }


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    user_id, device_id = key
    if value is None:
        # What a site that did not hear of it in time gave to the device goes too.
        return (
            DeleteDevice(user_id, device_id),
            RemoveDeviceKeys(user_id, (device_id,)),
            RemoveToDeviceMessages(user_id, (device_id,)),
            DeviceListChanged(user_id),
        )
    return (AddDevice(user_id, device_id, value["display_name"], value["created_ms"]),)


def _read_names(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    return {key: row.display_name for key, row in _rows(tx, keys).items() if row.display_name is not None}


def _write_name(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    return (RenameDevice(key[0], key[1], value),)


DEVICES: Final = (
    LastWriterKind(AddDevice.kind, _read, _write),
    LastWriterKind(NAME, _read_names, _write_name),
)
