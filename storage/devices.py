"""Devices: the clients that an account is logged in with."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

NAME: Final = "device.name"
"""The record of a device's name; its existence is one of its own."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device. What was seen last is known to a few minutes, and None if it was never seen."""

    user_id: str
    device_id: str
    display_name: str | None
    created_ms: int
    last_seen_ms: int | None
    last_seen_address: str | None
    last_seen_user_agent: str | None


_COLUMNS = (
    "user_id, device_id, display_name, created_ms,"
    " last_seen_ms, last_seen_address, last_seen_user_agent FROM devices"
)


class DevicesRepository:
    def get_of_user(self, tx: Transaction, user_id: str) -> list[DeviceRow]:
        rows = tx.all(f"SELECT {_COLUMNS} WHERE user_id = ? ORDER BY device_id", (user_id,))
        return [_row(row) for row in rows]

    def find(self, tx: Transaction, user_id: str, device_id: str) -> DeviceRow | None:
        row = tx.one(f"SELECT {_COLUMNS} WHERE user_id = ? AND device_id = ?", (user_id, device_id))
        return None if row is None else _row(row)

    def exists(self, tx: Transaction, user_id: str, device_id: str) -> bool:
        return (
            tx.one("SELECT 1 FROM devices WHERE user_id = ? AND device_id = ?", (user_id, device_id))
            is not None
        )


def _row(row: Row) -> DeviceRow:
    user_id, device_id, display_name, created_ms, seen_ms, seen_address, seen_agent = row
    return DeviceRow(
        user_id, device_id, _text(display_name), created_ms, seen_ms, seen_address, _text(seen_agent)
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else bytes(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


@dataclass(frozen=True, slots=True)
class AddDevice(Change):
    """A login on a device; one that is there already keeps its name."""

    kind: ClassVar[str] = "device"
    area: ClassVar[str] = "devices"

    user_id: str
    device_id: str
    display_name: str | None
    created_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()), (NAME, self.key()))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.later(
            "INSERT INTO devices (user_id, device_id, display_name, created_ms, position) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (user_id, device_id) DO NOTHING",
            [
                (change.user_id, change.device_id, _bytes(change.display_name), change.created_ms, position)
                for position, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class RenameDevice(Change):
    kind: ClassVar[str] = "device"
    area: ClassVar[str] = "devices"

    user_id: str
    device_id: str
    display_name: str | None

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((NAME, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE devices SET display_name = ?, position = ? WHERE user_id = ? AND device_id = ?",
            [
                (_bytes(change.display_name), position, change.user_id, change.device_id)
                for position, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class DeleteDevice(Change):
    """The device is gone. Its sessions end, and its keys go, by changes in the same submission."""

    kind: ClassVar[str] = "device"
    area: ClassVar[str] = "devices"
    is_barrier: ClassVar[bool] = True

    user_id: str
    device_id: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.device_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "DELETE FROM devices WHERE user_id = ? AND device_id = ?",
            [(change.user_id, change.device_id) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class SeeDevice(Change):
    """When, where and with what a device was seen last."""

    kind: ClassVar[str] = "device_seen"
    area: ClassVar[str] = "devices"
    logged: ClassVar[bool] = False

    user_id: str
    device_id: str
    at_ms: int
    address: str
    user_agent: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE devices SET last_seen_ms = ?, last_seen_address = ?, last_seen_user_agent = ?"
            " WHERE user_id = ? AND device_id = ?",
            [
                (change.at_ms, change.address, change.user_agent.encode(), change.user_id, change.device_id)
                for _, change in changes
            ],
        )
