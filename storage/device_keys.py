"""Identity keys of devices."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from lazy_dataclasses.decorator import dataclass
from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.replication.record_index import RecordIndex

DEVICE_KEYS: Final = "device_keys"
"""The record of a device's identity keys: (user ID, device ID)."""
_OF_DEVICE: Final = ("one_time_key", "fallback_key", "fallback_key.used")
"""Kinds of records of what goes with a device (storage/one_time_keys.py)."""

_CHUNK = 400


class DeviceGone(Conflict):
    """The device was deleted."""


def find_existing_devices(tx: Transaction, devices: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (user ID, device ID) that there are."""
    wanted = [(user, device) for user, device in dict.fromkeys(devices) if "\0" not in user + device]
    found: set[tuple[str, str]] = set()
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        rows = tx.all(
            "SELECT user_id, device_id FROM devices WHERE user_id IN (??) AND device_id IN (??)",
            (list({user for user, _ in chunk}), list({device for _, device in chunk})),
        )
        # Users and devices were asked for as two lists: other pairs may come with them.
        found.update(set(chunk).intersection(rows))
    return found


def check_device_exists(tx: Transaction, user_id: str, device_id: str) -> None:
    """Raise `DeviceGone` unless the device is there: a request may be under way while its device is deleted."""
    if not find_existing_devices(tx, [(user_id, device_id)]):
        raise DeviceGone("the device was deleted")


@dataclass(frozen=True, slots=True)
class SetDeviceKeys(Change):
    """A device published its identity keys. If they are others than before, uploaded signatures of them go.

    Raises `DeviceGone`.
    """

    kind: ClassVar[str] = "device_keys"
    area: ClassVar[str] = "keys"

    user_id: str
    device_id: str
    json: bytes
    """Canonical JSON without `unsigned`."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        # The same keys again are no news: others must not hear of them after signatures that rest on them.
        return ((DEVICE_KEYS, self.key()),) if result is True else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[bool]:
        """Whether they differ from what was there."""
        for _, change in changes:
            check_device_exists(tx, change.user_id, change.device_id)
        return write_device_keys(tx, changes)


def write_device_keys(tx: WriteTransaction, changes: Sequence[tuple[int, SetDeviceKeys]]) -> list[bool]:
    names = tx.intern(change.user_id for _, change in changes)
    return [
        _write_keys(tx, names[change.user_id], change.device_id.encode(), position, change.json)
        for position, change in changes
    ]


def _write_keys(tx: WriteTransaction, user: int, device: bytes, position: int, json: bytes) -> bool:
    old = tx.value("SELECT json FROM device_keys WHERE user_nid = ? AND device = ?", (user, device))
    if old == json:
        return False
    if old is not None:
        tx.run("DELETE FROM key_signatures WHERE user_nid = ? AND target = ?", (user, device))
    tx.run(
        "INSERT INTO device_keys (user_nid, device, position, json) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_nid, device) DO UPDATE SET position = excluded.position, json = excluded.json",
        (user, device, position, json),
    )
    return True


@dataclass(frozen=True, slots=True)
class MergeDeviceKeys(SetDeviceKeys):
    """Keys that another site took, for a device that this site may hear of later."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[bool]:
        return write_device_keys(tx, changes)


@dataclass(frozen=True, slots=True)
class RemoveDeviceKeys(Change):
    """Devices are gone: with them their identity keys, signatures of these, one-time and fallback keys."""

    kind: ClassVar[str] = "device_keys_removed"
    area: ClassVar[str] = "keys"

    user_id: str
    device_ids: tuple[str, ...]

    def key(self) -> tuple[str, ...]:
        return (self.user_id, *self.device_ids)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        # The rest goes with the keys, there as here.
        return tuple((DEVICE_KEYS, (self.user_id, device_id)) for device_id in self.device_ids)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.user_id for _, change in changes)
        devices = [
            (names[change.user_id], device.encode()) for _, change in changes for device in change.device_ids
        ]
        tx.many("DELETE FROM device_keys WHERE user_nid = ? AND device = ?", devices)
        tx.many("DELETE FROM key_signatures WHERE user_nid = ? AND target = ?", devices)
        tx.many("DELETE FROM one_time_keys WHERE user_nid = ? AND device = ?", devices)
        tx.many("DELETE FROM fallback_keys WHERE user_nid = ? AND device = ?", devices)
        tx.many("DELETE FROM claimed_keys WHERE user_nid = ? AND device = ?", devices)
        tx.many("DELETE FROM peer_one_time_keys WHERE user_nid = ? AND device = ?", devices)
        for _, change in changes:
            for device_id in change.device_ids:
                for kind in _OF_DEVICE:
                    RecordIndex().forget_below(tx, kind, (change.user_id, device_id))


@dataclass(frozen=True, slots=True)
class DeviceKeysRow:
    user_id: str
    device_id: str
    json: bytes


class DeviceKeysRepository:
    def find(self, tx: Transaction, user_id: str, device_id: str) -> bytes | None:
        """The device's keys as canonical JSON."""
        user = tx.name_id(user_id)
        if user is None:
            return None
        json: bytes | None = tx.value(
            "SELECT json FROM device_keys WHERE user_nid = ? AND device = ?", (user, device_id.encode())
        )
        return json

    def get_device_names(self, tx: Transaction, user_ids: Iterable[str]) -> dict[str, dict[str, str | None]]:
        """The devices of those users that have accounts here, with the names that people gave to them."""
        wanted = [user for user in user_ids if "\0" not in user]
        found: dict[str, dict[str, str | None]] = {}
        for start in range(0, len(wanted), IN_LIST_LIMIT):
            chunk = wanted[start : start + IN_LIST_LIMIT]
            for (user,) in tx.all("SELECT user_id FROM accounts WHERE user_id IN (??)", (chunk,)):
                found[user] = {}
            rows = tx.all(
                "SELECT user_id, device_id, display_name FROM devices WHERE user_id IN (??)", (chunk,)
            )
            for user, device, name in rows:
                found.setdefault(user, {})[device] = None if name is None else name.decode()
        return found

    def get_of_users(self, tx: Transaction, user_ids: Iterable[str]) -> list[DeviceKeysRow]:
        """The keys of all devices of these users."""
        users = {number: name for name, number in tx.name_ids(user_ids).items()}
        numbers = list(users)
        found = []
        for start in range(0, len(numbers), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT user_nid, device, json FROM device_keys WHERE user_nid IN (??)",
                (numbers[start : start + IN_LIST_LIMIT],),
            )
            found += [DeviceKeysRow(users[user], device.decode(), json) for user, device, json in rows]
        return found
