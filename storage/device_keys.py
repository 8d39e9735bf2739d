"""Identity keys of devices."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.device_list_updates import note_with_keys
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

DEVICE_KEYS: Final = "device_keys"
"""The record of a device's identity keys: (user ID, device ID)."""
_OF_DEVICE: Final = ("one_time_key", "fallback_key", "fallback_key.used")
"""Kinds of records of what goes with a device (storage/one_time_keys.py)."""

_CHUNK = 400


class DeviceGone(Conflict):
    """The device was deleted."""


class NotFirstKeys(Conflict):
    """The device has or had keys of some kind, or its user has a cross-signing key that is called like the device."""


def find_existing_devices(tx: Transaction, devices: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (user ID, device ID) that there are."""
    wanted = [(user, device) for user, device in dict.fromkeys(devices) if "\0" not in user + device]
    found: set[tuple[str, str]] = set()
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        marks = ", ".join(["(?, ?)"] * len(chunk))
        rows = tx.all(
            f"SELECT user_id, device_id FROM devices WHERE (user_id, device_id) IN (VALUES {marks})",  # noqa: S608
            [value for pair in chunk for value in pair],
        )
        found.update((user, device) for user, device in rows)
    return found


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
    is_noted: bool = False
    """Whether the update that tells other servers of them is noted with them, which is so on one site. Of several, the
    one that sends to others notes it, with the number of its lease."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        # The same keys again are no news: others must not hear of them after signatures that rest on them.
        return ((DEVICE_KEYS, self.key()),) if result is True else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Whether they differ from what was there."""
        names = tx.intern(change.user_id for _, change in changes)
        results: list[object] = []
        for position, change in changes:
            user, device = names[change.user_id], change.device_id.encode()
            if "\0" in change.device_id:
                # There is none, and a database may not be able to look for it.
                raise DeviceGone("no device has such an ID")
            rows = tx.all(
                "SELECT 1, json FROM device_keys WHERE user_nid = ? AND device = ?"
                " UNION ALL SELECT 0, NULL FROM devices WHERE user_id = ? AND device_id = ?",
                (user, device, change.user_id, change.device_id),
            )
            # A request may be under way while its device is deleted.
            if (0, None) not in rows:
                raise DeviceGone("the device was deleted")
            old = next((json for is_key, json in rows if is_key), None)
            results.append(_write_keys(tx, (user, device), position, old, change.json))
            if change.is_noted:
                note_with_keys(tx, user, device, position)
        return results


def _write_keys(
    tx: WriteTransaction, of: tuple[int, bytes], position: int, old: bytes | None, json: bytes
) -> bool:
    if old == json:
        return False
    if old is not None:
        tx.later("DELETE FROM key_signatures WHERE user_nid = ? AND target = ?", [of])
    tx.later(
        "INSERT INTO device_keys (user_nid, device, position, json) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_nid, device) DO UPDATE SET position = excluded.position, json = excluded.json",
        [(*of, position, json)],
    )
    return True


@dataclass(frozen=True, slots=True)
class FirstKeys:
    """What came of `SetFirstDeviceKeys`."""

    has_rooms: bool
    """Whether the user has or had a membership in some room."""


@dataclass(frozen=True, slots=True)
class SetFirstDeviceKeys(SetDeviceKeys):
    """A device published its first identity keys. Raises `NotFirstKeys`, `DeviceGone`."""

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((DEVICE_KEYS, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[FirstKeys]:
        names = tx.intern(change.user_id for _, change in changes)
        results = []
        for position, change in changes:
            of = (names[change.user_id], change.device_id.encode())
            if "\0" in change.device_id:
                raise DeviceGone("no device has such an ID")
            rows = tx.often(
                "SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?"
                " UNION ALL SELECT 2 FROM device_keys WHERE user_nid = ? AND device = ?"
                " UNION ALL SELECT 3 FROM cross_signing_keys WHERE user_nid = ? AND public_key = ?"
                # So that one-time keys that come with them need not be compared with any.
                " UNION ALL SELECT 4"
                " WHERE EXISTS (SELECT 1 FROM one_time_keys WHERE user_nid = ? AND device = ?)"
                " OR EXISTS (SELECT 1 FROM claimed_keys WHERE user_nid = ? AND device = ?)"
                " OR EXISTS (SELECT 1 FROM peer_one_time_keys WHERE user_nid = ? AND device = ?)"
                " OR EXISTS (SELECT 1 FROM fallback_keys WHERE user_nid = ? AND device = ?)"
                " UNION ALL SELECT 5 WHERE EXISTS (SELECT 1 FROM memberships WHERE user_nid = ?)",
                (change.user_id, change.device_id, *of * 6, of[0]),
            )
            found = {what for (what,) in rows}
            if 1 not in found:
                raise DeviceGone("the device was deleted")
            if not found <= {1, 5}:
                raise NotFirstKeys("the device has keys, or is called like one")
            _write_keys(tx, of, position, None, change.json)
            if change.is_noted:
                note_with_keys(tx, *of, position)
            results.append(FirstKeys(5 in found))
        return results


@dataclass(frozen=True, slots=True)
class MergeDeviceKeys(SetDeviceKeys):
    """Keys that another site took, for a device that this site may hear of later."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[bool]:
        names = tx.intern(change.user_id for _, change in changes)
        results = []
        for position, change in changes:
            of = (names[change.user_id], change.device_id.encode())
            old = tx.value("SELECT json FROM device_keys WHERE user_nid = ? AND device = ?", of)
            results.append(_write_keys(tx, of, position, old, change.json))
        return results


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
    def find_before_upload(self, tx: Transaction, user_id: str, device_id: str) -> tuple[bytes | None, bool]:
        """The device's keys as canonical JSON, and whether the user has a cross-signing key called like the device."""
        user, device = tx.name_id(user_id), device_id.encode()
        if user is None:
            return None, False
        rows = tx.all(
            "SELECT 1, json FROM device_keys WHERE user_nid = ? AND device = ?"
            " UNION ALL SELECT 0, NULL FROM cross_signing_keys WHERE user_nid = ? AND public_key = ?",
            (user, device, user, device),
        )
        return next((json for is_key, json in rows if is_key), None), (0, None) in rows

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
