"""Keys of devices and users, and signatures on them.

A device's identity keys: last writer, and gone with the device. A user's cross-signing keys: last writer for all of
them together, for they sign each other. Signatures stay as long as what they sign.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.accounts import AccountsRepository
from storage.change import Change
from storage.cross_signing import (
    AddSignature,
    CrossSigningKey,
    CrossSigningRepository,
    MergeCrossSigningKeys,
    MergeSignature,
    SetCrossSigningKeys,
    Signature,
)
from storage.database import Transaction
from storage.device_keys import DEVICE_KEYS, DeviceKeysRepository, MergeDeviceKeys, RemoveDeviceKeys
from storage.device_lists import DeviceListChanged
from storage.devices import AddDevice, DevicesRepository
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key, Record, Taken, Version
from storage.replication.record_index import RecordIndex


def is_deleted_device(tx: Transaction, user_id: str, device_id: str) -> bool:
    """Whether the device was here and is no more; one that this site has not heard of may still come."""
    key = (user_id, device_id)
    return not DevicesRepository().exists(tx, *key) and bool(
        RecordIndex().get_versions(tx, AddDevice.kind, [key])
    )


def _read_device_keys(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    found = {key: DeviceKeysRepository().find(tx, *key) for key in keys}
    # As text: what is signed must not change by a byte.
    return {key: bytes(json).decode() for key, json in found.items() if json is not None}


def _write_device_keys(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    user_id, device_id = key
    if value is None:
        return (RemoveDeviceKeys(user_id, (device_id,)), DeviceListChanged(user_id))
    if is_deleted_device(tx, user_id, device_id):
        return ()
    return (MergeDeviceKeys(user_id, device_id, value.encode()), DeviceListChanged(user_id))


def _read_cross_signing_keys(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    values: dict[Key, Any] = {}
    for key in keys:
        of_user = CrossSigningRepository().get_of_user(tx, key[0])
        values[key] = {
            usage: {"public_key": each.public_key, "json": bytes(each.json).decode()}
            for usage, each in of_user.items()
        }
    return {key: value for key, value in values.items() if value}


def _write_cross_signing_keys(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    if value is None:
        return ()
    keys = tuple(
        CrossSigningKey(usage, each["public_key"], each["json"].encode()) for usage, each in value.items()
    )
    return (MergeCrossSigningKeys(key[0], keys), DeviceListChanged(key[0]))


class SignatureKind:
    """A signature, by who signed whose key with what."""

    name: Final = AddSignature.kind
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        values: dict[Key, Any] = {}
        for key in keys:
            signer_id, user_id, target, signing_key = key
            found = CrossSigningRepository().find_signature(tx, signer_id, user_id, target, signing_key)
            if found is not None:
                values[key] = {"signature": found, "of": _signed(tx, user_id, target)}
        return values

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        # There is no taking back: a signature goes with the key that it signs.
        if value is None or (present is not None and present >= record.version):
            return None
        signer_id, user_id, target, signing_key = record.key
        if value["of"] != _signed(tx, user_id, target):
            return None
        signature = Signature(user_id, target, signer_id, signing_key, value["signature"])
        viewer = None if signer_id == user_id else signer_id
        return Taken((MergeSignature(signature), DeviceListChanged(user_id, viewer)))


def _signed(tx: Transaction, user_id: str, target: str) -> str | None:
    """Which key of ours is called so, so that a signature on another one of that name is not taken for one on it.

    None for those of other servers' users: they are judged by who looks at them.
    """
    json = DeviceKeysRepository().find(tx, user_id, target)
    if json is not None:
        return hashlib.sha256(json).hexdigest()
    if CrossSigningRepository().has_public_key(tx, user_id, target):
        return target
    return "" if AccountsRepository().find(tx, user_id) is not None else None


KEYS: Final = (
    LastWriterKind(DEVICE_KEYS, _read_device_keys, _write_device_keys),
    LastWriterKind(SetCrossSigningKeys.kind, _read_cross_signing_keys, _write_cross_signing_keys),
    SignatureKind(),
)
