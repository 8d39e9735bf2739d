"""Messages from device to device, kept until the recipient has them.

On several sites a message is named by the log of the site that took it and its position there. Every site that has it
may deliver it. They arrive everywhere in the order of that log, so that what a device has of a log is one number:
what it has is deleted here, and not taken when it comes later.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import ClassVar, Final, Self
from zlib import crc32

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.device_keys import find_existing_devices
from storage.replication.own_site import find_own_log
from storage.replication.record_index import RecordIndex
from storage.to_device_unsorted import take_out
from synapse_like_config.lazy_dataclasses import dataclass

MAX_PENDING = 10_000
"""Messages that wait for one device; of more, the oldest are dropped, sooner or later. A device that comes back after
so many has lost sessions anyway, and gets the rest from key backup or key requests."""
LOOK_EVERY = 512
"""A device's messages are counted once in about so many. A look reads all that waits, and what one finds too much is
dropped at once: with 512 a device seldom has more than a tenth beyond the cap."""

TO_DEVICE: Final = "to_device"
"""The record of a message: (user ID, device ID, log, position)."""
DELIVERED: Final = "to_device.delivered"
"""The record of what a device has: (user ID, device ID, log)."""

DEVICE: Final = "device"
WIPED: Final = "account_wiped"
"""Kinds of entries after which a device may be gone (storage/devices.py, storage/replication/wipe_user.py)."""

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
    is_remembered: ClassVar[bool] = False

    messages: tuple[ToDeviceMessage, ...]
    known_at: int | None = None
    """The position of the log at which the recipients' devices were there; None: that is not known."""

    @property
    def recipients(self) -> tuple[Device, ...]:
        return tuple(device for message in self.messages for device in message.recipients)

    def key(self) -> tuple[str, ...]:
        """User ID and device ID of each recipient, in turn: `pairs` takes them apart."""
        return tuple(chain.from_iterable(self.recipients))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return tuple((TO_DEVICE, key) for key in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, the keys of the messages' records."""
        log, present = without_gone(tx, changes)
        put_into_inboxes(tx, [(position, change.messages) for position, change in present])
        return [
            tuple((*device, log, str(position)) for device in (change.recipients if log else ()))
            for position, change in present
        ]


def put_into_inboxes(tx: WriteTransaction, sent: Sequence[tuple[int, Sequence[ToDeviceMessage]]]) -> None:
    """Messages by the position of the request that brought them."""
    names = tx.intern(user for _, messages in sent for each in messages for user, _ in each.recipients)
    inbox: list[tuple[int, bytes, int, bytes | None, int | None]] = []
    shared: list[tuple[int, int, bytes, int]] = []
    watched: list[tuple[int, bytes]] = []
    for position, messages in sent:
        places: list[tuple[int, bytes]] = []
        for number, message in enumerate(messages):
            recipients = message.recipients
            at = [(names[user], device.encode()) for user, device in recipients]
            if len(recipients) > 1:
                shared.append((position, number, message.event, len(recipients)))
                inbox += [(*device, position, None, number) for device in at]
            else:
                inbox += [(*device, position, message.event, None) for device in at]
            places += at
        watched += _sample(position, places)
    tx.later("INSERT INTO to_device_shared (position, number, event, waiting) VALUES (?, ?, ?, ?)", shared)
    tx.later(
        "INSERT INTO to_device_inbox (user_nid, device, position, event, shared) VALUES (?, ?, ?, ?, ?)",
        inbox,
    )
    _drop_oldest(tx, watched)


def without_gone(
    tx: WriteTransaction, changes: Sequence[tuple[int, SendToDevice]]
) -> tuple[str, Sequence[tuple[int, SendToDevice]]]:
    """This site's log (empty: there is one site), and the changes without devices that are not there.

    Events that are for nobody then are left out.
    """
    log, is_checked = _look_around(tx, [change.known_at for _, change in changes])
    return log, _existing(tx, changes) if is_checked else changes


def _existing(tx: Transaction, changes: Sequence[tuple[int, SendToDevice]]) -> list[tuple[int, SendToDevice]]:
    existing = find_existing_devices(tx, {device for _, change in changes for device in change.recipients})
    return [
        (
            position,
            SendToDevice(
                tuple(
                    ToDeviceMessage(message.event, recipients)
                    for message in change.messages
                    if (recipients := tuple(device for device in message.recipients if device in existing))
                )
            ),
        )
        for position, change in changes
    ]


def _look_around(tx: WriteTransaction, known_at: Sequence[int | None]) -> tuple[str, bool]:
    """This site's log (empty: there is one site), and whether devices may have gone since they were looked at."""
    since = None if None in known_at else min(at for at in known_at if at is not None)
    # Of a name that has no number yet it would be asked each time.
    kinds = list(tx.intern((DEVICE, WIPED)).values())
    rows = tx.all(
        "SELECT log, 0 FROM own_site UNION ALL SELECT '', 1 FROM log WHERE position > ? AND kind IN (??)",
        (since or 0, kinds if since is not None else []),
    )
    is_changed = any(what for _, what in rows)
    return next((log for log, what in rows if not what), ""), since is None or is_changed


@dataclass(frozen=True, slots=True)
class MergeToDevice(Change):
    """A message that another site took."""

    kind: ClassVar[str] = "to_device"
    area: ClassVar[str] = "to_device"
    is_remembered: ClassVar[bool] = False

    user_id: str
    device_id: str
    log: str
    log_position: int
    event: bytes

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in (change.user_id, change.log))
        tx.many(
            "INSERT INTO to_device_inbox (user_nid, device, position, event, shared, log, log_position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    names[change.user_id],
                    change.device_id.encode(),
                    position,
                    change.event,
                    None,
                    names[change.log],
                    change.log_position,
                )
                for position, change in changes
            ],
        )
        for position, change in changes:
            _drop_oldest(tx, _sample(position, [(names[change.user_id], change.device_id.encode())]))


def _sample(position: int, devices: Sequence[tuple[int, bytes]]) -> Sequence[tuple[int, bytes]]:
    """One device of `LOOK_EVERY`: those of which it is looked whether too much waits for them."""
    # No sender can foresee the position, nor keep away from those at which its recipients are looked at.
    return devices[crc32(position.to_bytes(8, "big")) % LOOK_EVERY :: LOOK_EVERY]


def pairs(key: Sequence[str]) -> list[Device]:
    """The devices in the key of a log entry of kind `to_device`."""
    return list(zip(key[::2], key[1::2], strict=True))


def names_device(key: Sequence[str], device: Device) -> bool:
    """Whether a device is among the `pairs` of a key: each sync asks that of all messages since the last one."""
    user_id, device_id = device
    at = -1
    try:
        while True:
            at = key.index(user_id, at + 1)
            # Users stand at even places, and somebody's device may be called like a user.
            if at % 2 == 0 and key[at + 1] == device_id:
                return True
    except ValueError:
        return False


def _drop_oldest(tx: WriteTransaction, devices: Iterable[tuple[int, bytes]]) -> None:
    for user, device in devices:
        last = tx.value(
            "SELECT position FROM to_device_inbox WHERE user_nid = ? AND device = ?"
            " ORDER BY position DESC LIMIT 1 OFFSET ?",
            (user, device, MAX_PENDING),
        )
        if last is not None:
            _delete(tx, (tx.names_of((user,))[user], device.decode()), "position <= ?", last)


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

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return tuple((DELIVERED, (self.user_id, self.device_id, log)) for log in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, the logs of which the device has more than before."""
        if not find_own_log(tx):
            _delete_all(tx, [(change.user_id, change.device_id, change.upto) for _, change in changes])
            return [()] * len(changes)
        results: list[object] = []
        for _, change in changes:
            device = (change.user_id, change.device_id)
            furthest = _delete(tx, device, "position <= ?", change.upto)
            for log, position in furthest.items():
                _note_delivered(tx, device, log, position)
            results.append(tuple(furthest))
        return results


def _delete_all(tx: WriteTransaction, delivered: Sequence[tuple[str, str, int]]) -> None:
    """On one site: what many devices have, with the shared events of which they were the last recipients."""
    names = tx.intern(user for user, _, _ in delivered)
    furthest: dict[tuple[int, bytes], int] = {}
    for user, device, upto in delivered:
        at = (names[user], device.encode())
        furthest[at] = max(upto, furthest.get(at, 0))
    rows = [(*at, upto) for at, upto in furthest.items()]
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        given = f"WITH given (user_nid, device, upto) AS (VALUES {', '.join(['(?, ?, ?)'] * len(chunk))})"
        values = [value for row in chunk for value in row]
        join = (
            "given JOIN to_device_inbox i"
            " ON i.user_nid = given.user_nid AND i.device = given.device AND i.position <= given.upto"
        )
        shared = tx.all(
            f"{given} SELECT COUNT(*), i.position, i.shared FROM {join}"  # noqa: S608
            " WHERE i.shared IS NOT NULL GROUP BY i.position, i.shared",
            values,
        )
        tx.run(
            f"{given} DELETE FROM to_device_inbox WHERE (user_nid, device, position) IN"  # noqa: S608
            f" (SELECT i.user_nid, i.device, i.position FROM {join})",
            values,
        )
        _let_go(tx, shared)


def _let_go(tx: WriteTransaction, shared: Sequence[tuple[int, int, int]]) -> None:
    """(How many recipients have it, position, number) of shared events."""
    tx.later("UPDATE to_device_shared SET waiting = waiting - ? WHERE position = ? AND number = ?", shared)
    tx.later(
        "DELETE FROM to_device_shared WHERE waiting <= 0 AND (position, number) IN (VALUES (?, ?))",
        [row[1:] for row in shared],
    )


@dataclass(frozen=True, slots=True)
class MergeDelivered(Change):
    """A device has a site's messages up to a position of that site's log: it got them through another site."""

    kind: ClassVar[str] = "to_device_removed"
    area: ClassVar[str] = "to_device"

    user_id: str
    device_id: str
    log: str
    log_position: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((DELIVERED, (*self.key(), self.log)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        own = find_own_log(tx)
        for _, change in changes:
            device = (change.user_id, change.device_id)
            _note_delivered(tx, device, change.log, change.log_position)
            if change.log == own:
                _delete(tx, device, "log IS NULL AND position <= ?", change.log_position)
            else:
                log = tx.intern_one(change.log)
                _delete(tx, device, "log = ? AND log_position <= ?", log, change.log_position)


def _note_delivered(tx: WriteTransaction, device: Device, log: str, position: int) -> None:
    user, number = tx.intern_one(device[0]), tx.intern_one(log)
    tx.run(
        "INSERT INTO to_device_delivered (user_nid, device, log, position) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_nid, device, log) DO UPDATE SET position = excluded.position"
        " WHERE to_device_delivered.position < excluded.position",
        (user, device[1].encode(), number, position),
    )


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
        gone = {(change.user_id, device_id) for _, change in changes for device_id in change.device_ids}
        take_out(tx, gone.__contains__)
        for position, change in changes:
            for device_id in change.device_ids:
                _delete(tx, (change.user_id, device_id), "position <= ?", position)
                at = (tx.intern_one(change.user_id), device_id.encode())
                tx.run("DELETE FROM to_device_delivered WHERE user_nid = ? AND device = ?", at)
                RecordIndex().forget_below(tx, DELIVERED, (change.user_id, device_id))


def wipe(tx: WriteTransaction, user_id: str) -> None:
    """Everything that waits for a user."""
    take_out(tx, lambda device: device[0] == user_id)
    user = tx.name_id(user_id)
    rows = tx.all("SELECT DISTINCT device FROM to_device_inbox WHERE user_nid = ?", (user,))
    for (device,) in rows:
        _delete(tx, (user_id, bytes(device).decode()), "position > ?", 0)
    tx.run("DELETE FROM to_device_delivered WHERE user_nid = ?", (user,))


def _delete(tx: WriteTransaction, device: Device, where: str, *parameters: int) -> dict[str, int]:
    """On several sites: of which logs messages went, each with the last of their positions."""
    of = (tx.intern_one(device[0]), device[1].encode())
    gone = tx.all(
        f"DELETE FROM to_device_inbox WHERE user_nid = ? AND device = ? AND {where}"  # noqa: S608
        " RETURNING position, shared, log, log_position",
        (*of, *parameters),
    )
    if not gone:
        return {}
    counts = Counter((position, number) for position, number, *_ in gone if number is not None)
    _let_go(tx, [(count, *of_event) for of_event, count in counts.items()])
    return _forget(
        tx, device, [(row[0], None, None) if row[2] is None else (row[0], *row[2:]) for row in gone]
    )


def _forget(
    tx: WriteTransaction, device: Device, gone: Sequence[tuple[int, int | None, int | None]]
) -> dict[str, int]:
    own = find_own_log(tx)
    if not own:
        return {}
    names = tx.names_of(log for _, log, _ in gone if log is not None)
    places = [
        (own, position) if log is None or at is None else (names[log], at) for position, log, at in gone
    ]
    # Nobody needs to hear of them any more, only of how far the device is.
    RecordIndex().forget(tx, TO_DEVICE, [(*device, log, str(at)) for log, at in places])
    furthest: dict[str, int] = {}
    for log, at in places:
        furthest[log] = max(at, furthest.get(log, 0))
    return furthest


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

    def find_event(
        self, tx: Transaction, user_id: str, device_id: str, log: str, log_position: int
    ) -> bytes | None:
        """A message that waits, by the name that it has on all sites."""
        is_own = log == find_own_log(tx)
        where = "i.log IS NULL AND i.position = ?" if is_own else "i.log = ? AND i.log_position = ?"
        event: bytes | None = tx.value(
            "SELECT COALESCE(i.event, s.event) FROM to_device_inbox i"  # noqa: S608
            " LEFT JOIN to_device_shared s ON s.position = i.position AND s.number = i.shared"
            f" WHERE i.user_nid = ? AND i.device = ? AND {where}",
            (
                tx.name_id(user_id),
                device_id.encode(),
                *(() if is_own else (tx.name_id(log),)),
                log_position,
            ),
        )
        return event

    def find_delivered(self, tx: Transaction, user_id: str, device_id: str, log: str) -> int:
        """The position of a log up to which the device has its messages, as far as was noted; 0: nothing was."""
        position = tx.value(
            "SELECT position FROM to_device_delivered WHERE user_nid = ? AND device = ? AND log = ?",
            (tx.name_id(user_id), device_id.encode(), tx.name_id(log)),
        )
        return position or 0

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
