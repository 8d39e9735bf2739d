"""What other servers are told of the devices of this server's users: the newest update of each device.

Table `device_list_updates`.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

CROSS_SIGNING = ""
"""In place of a device ID: the user's cross-signing keys."""
EPOCH_SHIFT: Final = 36
"""Stream IDs are numbers of JSON, below 2**53: enough for 10**5 leases and 6 * 10**10 positions."""
_INSERT: Final = "INSERT INTO device_list_updates (user_nid, device, position, previous, stream_id)"
_IF_LATER: Final = (
    "ON CONFLICT (user_nid, device) DO UPDATE SET position = excluded.position, previous = excluded.previous,"
    " stream_id = excluded.stream_id WHERE excluded.stream_id > device_list_updates.stream_id"
)


@dataclass(frozen=True, slots=True)
class NoteDeviceChange(Change):
    """The keys or the name of a device of this server's user changed at a position. Noting it again does nothing.

    The result is the `stream_id` of the update before it.
    """

    kind: ClassVar[str] = "device_list_update"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    user_id: str
    device_id: str
    """`CROSS_SIGNING` for the user's cross-signing keys."""
    position: int
    epoch: int = 0
    """Of the duty of sending; 0 on one site."""

    @property
    def stream_id(self) -> int:
        return (self.epoch << EPOCH_SHIFT) + self.position

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.user_id, self.device_id)),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        users = tx.intern(change.user_id for _, change in changes)
        results: list[object] = []
        for _, change in changes:
            user = users[change.user_id]
            device = change.device_id.encode()
            previous, newest, noted_previous, is_noted = tx.all(
                "SELECT MAX(CASE WHEN stream_id < ? THEN stream_id END), MAX(stream_id),"
                " MAX(CASE WHEN stream_id = ? AND device = ? THEN previous END),"
                " COUNT(CASE WHEN stream_id = ? AND device = ? THEN 1 END)"
                # Updates of devices form a chain; those of cross-signing keys are not part of it.
                " FROM device_list_updates WHERE user_nid = ? AND device <> ?",
                (*[change.stream_id] * 2, device, change.stream_id, device, user, CROSS_SIGNING.encode()),
            )[0]
            if is_noted:
                # With the keys, or before a crash: it took the place of what it refers to.
                results.append(noted_previous)
                continue
            if newest is not None and newest > change.stream_id and not change.epoch:
                _link_next(tx, user, change.stream_id)
            _write_device_update(tx, (user, device, change.position, previous, change.stream_id))
            results.append(previous)
        return results


def _link_next(tx: WriteTransaction, user: int, stream_id: int) -> None:
    """An update that was noted already, with the keys that it tells of, comes behind this one."""
    tx.later(
        "UPDATE device_list_updates SET previous = ? WHERE user_nid = ? AND device <> ? AND stream_id > ?"
        " AND (previous IS NULL OR previous < ?)",
        [(stream_id, user, CROSS_SIGNING.encode(), stream_id, stream_id)],
    )


def note_with_keys(tx: WriteTransaction, user: int, device: bytes, position: int) -> None:
    """For the change at a position that sets a device's keys: what `NoteDeviceChange` writes on one site."""
    tx.later(
        f"{_INSERT} SELECT ?, ?, ?, MAX(stream_id), ? FROM device_list_updates"  # noqa: S608
        f" WHERE user_nid = ? AND device <> ? AND stream_id < ? {_IF_LATER}",
        [(user, device, position, position, user, CROSS_SIGNING.encode(), position)],
    )


@dataclass(frozen=True, slots=True)
class MergeDeviceUpdate(Change):
    """Another site told others of a device."""

    kind: ClassVar[str] = NoteDeviceChange.kind
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    user_id: str
    device_id: str
    stream_id: int
    previous: int | None

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        position: int = tx.value("SELECT position FROM log_head")
        for _, change in changes:
            row = (users[change.user_id], change.device_id.encode(), position)
            _write_device_update(tx, (*row, change.previous, change.stream_id))


def _write_device_update(tx: WriteTransaction, row: tuple[int, bytes, int, int | None, int]) -> None:
    tx.later(
        f"{_INSERT} VALUES (?, ?, ?, ?, ?) {_IF_LATER}",
        [row],
    )


@dataclass(frozen=True, slots=True)
class DeviceUpdate:
    """What is to be told of one device, or of the cross-signing keys."""

    user_id: str
    device_id: str
    position: int
    previous: int | None
    """The `stream_id` of the update before it."""
    stream_id: int


class DeviceListUpdatesRepository:
    def get_device_updates(self, tx: Transaction, user_ids: Iterable[str]) -> list[DeviceUpdate]:
        """Everything that was ever told of these users."""
        users = list(tx.name_ids(user_ids).values())
        updates = []
        for start in range(0, len(users), IN_LIST_LIMIT):
            updates += self._updates(tx, "user_nid IN (??)", (users[start : start + IN_LIST_LIMIT],))
        return updates

    def get_device_updates_after(self, tx: Transaction, position: int) -> list[DeviceUpdate]:
        """Of all users, oldest first."""
        return self._updates(tx, "position > ?", (position,))

    def find_device_update(self, tx: Transaction, user_id: str, device_id: str) -> DeviceUpdate | None:
        """The newest of one device."""
        parameters = (tx.name_id(user_id), device_id.encode())
        found = self._updates(tx, "user_nid = ? AND device = ?", parameters)
        return found[0] if found else None

    def find_stream_id(self, tx: Transaction, user_id: str) -> int:
        """The newest `stream_id` of a user's device list; 0 if nothing was ever told."""
        value: int | None = tx.value(
            "SELECT MAX(stream_id) FROM device_list_updates WHERE user_nid = ? AND device <> ?",
            (tx.name_id(user_id), CROSS_SIGNING.encode()),
        )
        return value or 0

    def _updates(self, tx: Transaction, where: str, parameters: Sequence[object]) -> list[DeviceUpdate]:
        rows = tx.all(
            "SELECT user_nid, device, position, previous, stream_id FROM device_list_updates"  # noqa: S608
            f" WHERE {where} ORDER BY stream_id",
            parameters,
        )
        names = tx.names_of(row[0] for row in rows)
        return [DeviceUpdate(names[row[0]], bytes(row[1]).decode(), *row[2:]) for row in rows]
