"""Messages from device to device, kept until the recipient has them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.device_keys import find_existing_devices

MAX_PENDING = 10_000
"""Messages that wait for one device; of more, the oldest are dropped. A device that comes back after so many has lost
sessions anyway, and gets the rest from key backup or key requests."""

_CHUNK = 400

Device = tuple[str, str]
"""User ID, device ID."""


@dataclass(frozen=True, slots=True)
class ToDeviceMessage:
    """One event and the devices that it is for."""

    event: bytes
    """JSON of the whole event: sender, type, content."""
    recipients: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class SendToDevice(Change):
    """One request's messages: at most one for each device. Devices that are gone by now are left out.

    At most 32,767 different events.
    """

    kind: ClassVar[str] = "to_device"
    area: ClassVar[str] = "to_device"

    messages: tuple[ToDeviceMessage, ...]

    @property
    def recipients(self) -> tuple[Device, ...]:
        return tuple(device for message in self.messages for device in message.recipients)

    def key(self) -> tuple[str, ...]:
        """User ID and device ID of each recipient, in turn: `pairs` takes them apart."""
        return tuple(chain.from_iterable(self.recipients))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        existing = find_existing_devices(
            tx, (device for _, change in changes for device in change.recipients)
        )
        names = tx.intern(user for user, _ in existing)
        inbox, shared = [], []
        pending: Counter[tuple[int, bytes]] = Counter()
        for position, change in changes:
            for number, message in enumerate(change.messages):
                recipients = [device for device in message.recipients if device in existing]
                alone = len(recipients) == 1
                if len(recipients) > 1:
                    shared.append((position, number, message.event, len(recipients)))
                for user, device in recipients:
                    at = (names[user], device.encode())
                    pending[at] += 1
                    inbox.append((*at, position, message.event if alone else None, None if alone else number))
        tx.many("INSERT INTO to_device_shared (position, number, event, waiting) VALUES (?, ?, ?, ?)", shared)
        tx.many(
            "INSERT INTO to_device_inbox (user_nid, device, position, event, shared) VALUES (?, ?, ?, ?, ?)",
            inbox,
        )
        tx.many(
            "INSERT INTO to_device_pending (user_nid, device, pending) VALUES (?, ?, ?)"
            " ON CONFLICT (user_nid, device) DO UPDATE SET pending = to_device_pending.pending + excluded.pending",
            [(*at, count) for at, count in pending.items()],
        )
        _drop_oldest(tx, list(pending))


def pairs(key: Sequence[str]) -> list[Device]:
    """The devices in the key of a log entry of kind `to_device`."""
    return list(zip(key[::2], key[1::2], strict=True))


def _drop_oldest(tx: WriteTransaction, devices: Sequence[tuple[int, bytes]]) -> None:
    for start in range(0, len(devices), _CHUNK):
        chunk = devices[start : start + _CHUNK]
        full = tx.all(
            "SELECT user_nid, device, pending FROM to_device_pending"
            " WHERE user_nid IN (??) AND device IN (??) AND pending > ?",
            (list({user for user, _ in chunk}), list({device for _, device in chunk}), MAX_PENDING),
        )
        for user, device, pending in full:
            last = tx.value(
                "SELECT position FROM to_device_inbox WHERE user_nid = ? AND device = ?"
                " ORDER BY position LIMIT 1 OFFSET ?",
                (user, device, pending - MAX_PENDING - 1),
            )
            _delete(tx, user, device, last)


@dataclass(frozen=True, slots=True)
class ToDeviceDelivered(Change):
    """A device has all its messages up to a position."""

    kind: ClassVar[str] = "to_device_delivered"
    area: ClassVar[str] = "to_device"

    user_id: str
    device_id: str
    upto: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id, str(self.upto))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.user_id for _, change in changes)
        for _, change in changes:
            _delete(tx, names[change.user_id], change.device_id.encode(), change.upto)


@dataclass(frozen=True, slots=True)
class RemoveToDeviceMessages(Change):
    """Devices are gone, and what waited for them."""

    kind: ClassVar[str] = "to_device_removed"
    area: ClassVar[str] = "to_device"

    user_id: str
    device_ids: tuple[str, ...]

    def key(self) -> tuple[str, ...]:
        return (self.user_id, *self.device_ids)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.user_id for _, change in changes)
        for position, change in changes:
            for device_id in change.device_ids:
                at = (names[change.user_id], device_id.encode())
                _delete(tx, *at, position)
                tx.run("DELETE FROM to_device_pending WHERE user_nid = ? AND device = ?", at)


def _delete(tx: WriteTransaction, user: int, device: bytes, upto: int) -> None:
    gone = tx.all(
        "DELETE FROM to_device_inbox WHERE user_nid = ? AND device = ? AND position <= ? RETURNING position, shared",
        (user, device, upto),
    )
    if not gone:
        return
    tx.run(
        "UPDATE to_device_pending SET pending = pending - ? WHERE user_nid = ? AND device = ?",
        (len(gone), user, device),
    )
    shared = [(position, number) for position, number in gone if number is not None]
    tx.many("UPDATE to_device_shared SET waiting = waiting - 1 WHERE position = ? AND number = ?", shared)
    tx.many("DELETE FROM to_device_shared WHERE position = ? AND number = ? AND waiting <= 0", shared)


@dataclass(frozen=True, slots=True)
class PendingRange:
    """Positions of the oldest and newest message that wait for a device."""

    oldest: int
    newest: int


class ToDeviceRepository:
    def find_range(self, tx: Transaction, user_id: str, device_id: str) -> PendingRange | None:
        """None if nothing waits."""
        user = tx.name_id(user_id)
        if user is None:
            return None
        # Two look-ups in the key's order: MIN and MAX together would read every row between.
        sql = "SELECT position FROM to_device_inbox WHERE user_nid = ? AND device = ? ORDER BY position"
        oldest = tx.value(f"{sql} LIMIT 1", (user, device_id.encode()))
        newest = tx.value(f"{sql} DESC LIMIT 1", (user, device_id.encode()))
        return None if oldest is None else PendingRange(oldest, newest)

    def get_after(
        self, tx: Transaction, user_id: str, device_id: str, since: int, upto: int, limit: int
    ) -> list[tuple[int, bytes]]:
        """Position and JSON of the first messages with `since` < position <= `upto`, oldest first."""
        user = tx.name_id(user_id)
        if user is None:
            return []
        rows = tx.all(
            "SELECT i.position, COALESCE(i.event, s.event) FROM to_device_inbox i"
            " LEFT JOIN to_device_shared s ON s.position = i.position AND s.number = i.shared"
            " WHERE i.user_nid = ? AND i.device = ? AND i.position > ? AND i.position <= ?"
            " ORDER BY i.position LIMIT ?",
            (user, device_id.encode(), since, upto, limit),
        )
        return [(position, event) for position, event in rows]
