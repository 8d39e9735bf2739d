"""Devices of other servers' users, as those servers told of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

REMOTE_DEVICES: Final = "remote_devices"
"""The record of what is known of a user's devices: (user ID)."""


class ListMovedOn(Conflict):
    """The device list is not the one that the change was decided upon."""


@dataclass(frozen=True, slots=True)
class RemoteDevice:
    device_id: str
    json: bytes
    """Identity keys with the display name in `unsigned`."""


@dataclass(frozen=True, slots=True)
class SetRemoteDevices(Change):
    """The whole list of a user's devices, as of a stream ID."""

    kind: ClassVar[str] = "remote_devices"
    area: ClassVar[str] = "remote_devices"

    user_id: str
    stream_id: int
    devices: tuple[RemoteDevice, ...]

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((REMOTE_DEVICES, (self.user_id,)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        newest = {users[change.user_id]: change for _, change in changes}
        tx.many("DELETE FROM remote_devices WHERE user_nid = ?", [(user,) for user in newest])
        tx.many(
            "INSERT INTO remote_devices (user_nid, device, json) VALUES (?, ?, ?)",
            [
                (user, device.device_id.encode(), device.json)
                for user, change in newest.items()
                for device in {device.device_id: device for device in change.devices}.values()
            ],
        )
        tx.many(
            "INSERT INTO remote_device_lists (user_nid, stream_id, is_stale) VALUES (?, ?, ?)"
            " ON CONFLICT (user_nid) DO UPDATE SET stream_id = excluded.stream_id, is_stale = excluded.is_stale",
            [(user, change.stream_id, 0) for user, change in newest.items()],
        )


@dataclass(frozen=True, slots=True)
class UpdateRemoteDevice(Change):
    """One device of a list that is known up to `expected` changed. Raises `ListMovedOn`."""

    kind: ClassVar[str] = "remote_device"
    area: ClassVar[str] = "remote_devices"

    user_id: str
    expected: int
    stream_id: int
    device_id: str
    json: bytes | None
    """None if it was deleted."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((REMOTE_DEVICES, (self.user_id,)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        for _, change in changes:
            user, device = users[change.user_id], change.device_id.encode()
            if not tx.all(
                "UPDATE remote_device_lists SET stream_id = ?"
                " WHERE user_nid = ? AND stream_id = ? AND is_stale = 0 RETURNING user_nid",
                (change.stream_id, user, change.expected),
            ):
                raise ListMovedOn("the device list was changed at the same time")
            if change.json is None:
                tx.run("DELETE FROM remote_devices WHERE user_nid = ? AND device = ?", (user, device))
                continue
            tx.run(
                "INSERT INTO remote_devices (user_nid, device, json) VALUES (?, ?, ?)"
                " ON CONFLICT (user_nid, device) DO UPDATE SET json = excluded.json",
                (user, device, change.json),
            )


@dataclass(frozen=True, slots=True)
class DistrustRemoteDevices(Change):
    """What is known of these users may not be true any more."""

    kind: ClassVar[str] = "remote_devices_stale"
    area: ClassVar[str] = "remote_devices"

    user_ids: tuple[str, ...]

    def key(self) -> tuple[str, ...]:
        return self.user_ids

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return tuple((REMOTE_DEVICES, (user_id,)) for user_id in self.user_ids)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.name_ids(user_id for _, change in changes for user_id in change.user_ids)
        tx.many(
            "UPDATE remote_device_lists SET is_stale = 1 WHERE user_nid = ?",
            [(user,) for user in users.values()],
        )


class AlreadyReceived(Conflict):
    """The message was taken before."""


@dataclass(frozen=True, slots=True)
class RecordReceived(Change):
    """A message to devices was taken, in the same submission. Raises `AlreadyReceived`."""

    kind: ClassVar[str] = "to_device_received"
    area: ClassVar[str] = "received_to_device"
    logged: ClassVar[bool] = False

    origin: str
    message_id: str
    at_ms: int

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.origin, self.message_id)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            if not tx.all(
                "INSERT INTO received_to_device (origin, message_id, at_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (origin, message_id) DO NOTHING RETURNING at_ms",
                (change.origin, change.message_id.encode(), change.at_ms),
            ):
                raise AlreadyReceived("the message was taken before")


@dataclass(frozen=True, slots=True)
class MergeReceived(Change):
    """A message to devices was taken at another site, or here as well."""

    kind: ClassVar[str] = "to_device_received"
    area: ClassVar[str] = "received_to_device"
    logged: ClassVar[bool] = False

    origin: str
    message_id: str
    at_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "INSERT INTO received_to_device (origin, message_id, at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(change.origin, change.message_id.encode(), change.at_ms) for _, change in changes],
        )


def find_received_ms(tx: Transaction, origin: str, message_id: str) -> int | None:
    """When a message was taken, if it was."""
    at_ms: int | None = tx.value(
        "SELECT at_ms FROM received_to_device WHERE origin = ? AND message_id = ?",
        (origin, message_id.encode()),
    )
    return at_ms


@dataclass(frozen=True, slots=True)
class ForgetReceived(Change):
    """Drop what was taken long ago: nobody sends it again."""

    kind: ClassVar[str] = "to_device_received"
    area: ClassVar[str] = "received_to_device"
    logged: ClassVar[bool] = False

    before_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        gone = tx.all(
            "DELETE FROM received_to_device WHERE at_ms < ? RETURNING origin, message_id",
            (max(change.before_ms for _, change in changes),),
        )
        # Each site forgets them by itself.
        RecordIndex().forget(tx, cls.kind, [(row[0], bytes(row[1]).decode()) for row in gone])


@dataclass(frozen=True, slots=True)
class RemoteDeviceList:
    """A user's devices as far as they were told."""

    stream_id: int
    is_stale: bool
    devices: Mapping[str, bytes] = field(default_factory=dict)


class RemoteDevicesRepository:
    def find_stream(self, tx: Transaction, user_id: str) -> RemoteDeviceList | None:
        """Without the devices; None if nothing is known of the user."""
        row = tx.one(
            "SELECT stream_id, is_stale FROM remote_device_lists WHERE user_nid = ?", (tx.name_id(user_id),)
        )
        return None if row is None else RemoteDeviceList(row[0], bool(row[1]))

    def has_device(self, tx: Transaction, user_id: str, device_id: str) -> bool:
        return bool(
            tx.all(
                "SELECT 1 FROM remote_devices WHERE user_nid = ? AND device = ?",
                (tx.name_id(user_id), device_id.encode()),
            )
        )

    def count_devices(self, tx: Transaction, user_id: str) -> int:
        count: int = tx.value(
            "SELECT COUNT(*) FROM remote_devices WHERE user_nid = ?", (tx.name_id(user_id),)
        )
        return count

    def find_state(self, tx: Transaction, user_id: str) -> tuple[int, bool] | None:
        """The stream ID up to which a user's list is known, and whether it may not be true any more."""
        row = tx.one(
            "SELECT stream_id, is_stale FROM remote_device_lists WHERE user_nid = ?", (tx.name_id(user_id),)
        )
        return None if row is None else (row[0], bool(row[1]))

    def get_lists(self, tx: Transaction, user_ids: Iterable[str]) -> dict[str, RemoteDeviceList]:
        """The lists that are true, with all devices."""
        users = {number: name for name, number in tx.name_ids(user_ids).items()}
        found: dict[str, RemoteDeviceList] = {}
        numbers = list(users)
        for start in range(0, len(numbers), IN_LIST_LIMIT):
            chunk = numbers[start : start + IN_LIST_LIMIT]
            devices: dict[int, dict[str, bytes]] = defaultdict(dict)
            for user, device, json in tx.all(
                "SELECT user_nid, device, json FROM remote_devices WHERE user_nid IN (??)", (chunk,)
            ):
                devices[user][bytes(device).decode()] = bytes(json)
            for user, stream_id in tx.all(
                "SELECT user_nid, stream_id FROM remote_device_lists WHERE user_nid IN (??) AND is_stale = 0",
                (chunk,),
            ):
                found[users[user]] = RemoteDeviceList(stream_id, False, devices[user])
        return found
