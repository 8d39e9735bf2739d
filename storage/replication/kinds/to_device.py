"""Messages to devices, here and on other servers: immutable; how far a device or server has a site's is a maximum."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.database import Transaction
from storage.replication.kinds.keys import is_deleted_device
from storage.replication.own_site import find_own_log
from storage.replication.record import Key, Record, Taken, Version
from storage.to_device import DELIVERED, TO_DEVICE, MergeDelivered, MergeToDevice, ToDeviceRepository
from storage.to_device_remote import (
    REMOTE_DELIVERED,
    REMOTE_MESSAGE,
    MergeRemoteDelivered,
    MergeRemoteMessage,
    ToDeviceRemoteRepository,
)


class ToDeviceKind:
    """A message that waits for a device."""

    name: Final = TO_DEVICE
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {
            key: ToDeviceRepository().find_event(tx, key[0], key[1], key[2], int(key[3])) for key in keys
        }
        # As text: what clients sent is not canonical JSON.
        return {key: bytes(event).decode() for key, event in found.items() if event is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        user_id, device_id, log, position = record.key
        if record.value is None or present is not None or log == find_own_log(tx):
            return None
        if is_deleted_device(tx, user_id, device_id):
            return None
        if ToDeviceRepository().find_delivered(tx, user_id, device_id, log) >= int(position):
            return None
        return Taken((MergeToDevice(user_id, device_id, log, int(position), record.value.encode()),))


class DeliveredKind:
    """What a device has of the messages that a site took."""

    name: Final = DELIVERED
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return {key: ToDeviceRepository().find_delivered(tx, *key) for key in keys}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        user_id, device_id, log = record.key
        if not record.value or is_deleted_device(tx, user_id, device_id):
            return None
        if ToDeviceRepository().find_delivered(tx, user_id, device_id, log) >= record.value:
            return None
        return Taken((MergeDelivered(user_id, device_id, log, record.value),))


class RemoteMessageKind:
    """A message that waits for another server."""

    name: Final = REMOTE_MESSAGE
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {
            key: ToDeviceRemoteRepository().find_message(tx, key[0], key[1], int(key[2]), int(key[3]))
            for key in keys
        }
        return {key: content.decode() for key, content in found.items() if content is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        destination, log, position, number = record.key
        if record.value is None or present is not None or log == find_own_log(tx):
            return None
        if ToDeviceRemoteRepository().find_delivered(tx, destination, log) >= int(position):
            return None
        message = MergeRemoteMessage(destination, log, int(position), int(number), record.value.encode())
        return Taken((message,))


class RemoteDeliveredKind:
    """What another server has of the messages that a site took for it."""

    name: Final = REMOTE_DELIVERED
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return {key: ToDeviceRemoteRepository().find_delivered(tx, *key) for key in keys}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        destination, log = record.key
        if (
            not record.value
            or ToDeviceRemoteRepository().find_delivered(tx, destination, log) >= record.value
        ):
            return None
        return Taken((MergeRemoteDelivered(destination, log, record.value),))


MESSAGES: Final = (ToDeviceKind(), DeliveredKind(), RemoteMessageKind(), RemoteDeliveredKind())
