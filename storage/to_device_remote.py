"""Messages to devices of other servers: they wait until their destination has acknowledged them.

Tables `federation_to_device` and `federation_to_device_delivered`.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from storage.replication.own_site import find_own_log
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

REMOTE_MESSAGE: Final = "to_device_remote"
"""The record of a message to another server's devices: (destination, log, position, number)."""
REMOTE_DELIVERED: Final = "to_device_remote.delivered"
"""The record of what a destination has: (destination, log)."""


@dataclass(frozen=True, slots=True)
class SendToRemoteDevices(Change):
    """One request's messages to devices of other servers: destination and JSON of the EDU's content.

    The `message_id` is added when it is sent, from the entry's position.
    """

    kind: ClassVar[str] = "to_device_remote"
    area: ClassVar[str] = "sending"
    is_remembered: ClassVar[bool] = False

    messages: tuple[tuple[str, bytes], ...]

    def key(self) -> tuple[str, ...]:
        """The destinations."""
        return tuple(dict.fromkeys(destination for destination, _ in self.messages))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return tuple((REMOTE_MESSAGE, key) for key in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, the keys of the messages' records."""
        tx.many(
            "INSERT INTO federation_to_device (destination, position, number, content) VALUES (?, ?, ?, ?)",
            [
                (destination, position, number, content)
                for position, change in changes
                for number, (destination, content) in enumerate(change.messages)
            ],
        )
        log = find_own_log(tx)
        return [
            tuple(
                (destination, log, str(position), str(number))
                for number, (destination, _) in enumerate(change.messages if log else ())
            )
            for position, change in changes
        ]


@dataclass(frozen=True, slots=True)
class MergeRemoteMessage(Change):
    """A message to another server's devices that another site took."""

    kind: ClassVar[str] = SendToRemoteDevices.kind
    area: ClassVar[str] = "sending"
    is_remembered: ClassVar[bool] = False

    destination: str
    log: str
    log_position: int
    number: int
    content: bytes

    def key(self) -> tuple[str, ...]:
        return (self.destination,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.log for _, change in changes)
        tx.many(
            "INSERT INTO federation_to_device (destination, position, number, content, log, log_position)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    change.destination,
                    position,
                    change.number,
                    change.content,
                    names[change.log],
                    change.log_position,
                )
                for position, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class RemoteDelivered(Change):
    """A destination acknowledged messages to its devices."""

    kind: ClassVar[str] = "to_device_acknowledged"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    messages: tuple[tuple[int, int], ...]
    """Position and number of each."""

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return tuple((REMOTE_DELIVERED, (self.destination, log)) for log in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, the logs of which the destination has more than before."""
        own = find_own_log(tx)
        results: list[object] = []
        for _, change in changes:
            gone: list[Row] = []
            for message in change.messages:
                gone += tx.all(
                    "DELETE FROM federation_to_device WHERE destination = ? AND position = ? AND number = ?"
                    " RETURNING position, number, log, log_position",
                    (change.destination, *message),
                )
            results.append(_note_delivered(tx, own, change.destination, gone) if own else ())
        return results


@dataclass(frozen=True, slots=True)
class MergeRemoteDelivered(Change):
    """A destination has a site's messages up to a position of that site's log."""

    kind: ClassVar[str] = RemoteDelivered.kind
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    log: str
    log_position: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        own = find_own_log(tx)
        for _, change in changes:
            is_own = change.log == own
            where = "log IS NULL AND position <= ?" if is_own else "log = ? AND log_position <= ?"
            _move_delivered(tx, change.destination, change.log, change.log_position)
            gone = tx.all(
                f"DELETE FROM federation_to_device WHERE destination = ? AND {where}"  # noqa: S608
                " RETURNING position, number, log, log_position",
                (change.destination, *(() if is_own else (tx.intern_one(change.log),)), change.log_position),
            )
            _note_delivered(tx, own, change.destination, gone)


def _note_delivered(tx: WriteTransaction, own: str, destination: str, gone: Sequence[Row]) -> tuple[str, ...]:
    names = tx.names_of(row[2] for row in gone if row[2] is not None)
    furthest: dict[str, int] = {}
    keys = []
    for position, number, log, log_position in gone:
        name, at = (own, position) if log is None else (names[log], log_position)
        furthest[name] = max(at, furthest.get(name, 0))
        keys.append((destination, name, str(at), str(number)))
    RecordIndex().forget(tx, REMOTE_MESSAGE, keys)
    for name, at in furthest.items():
        _move_delivered(tx, destination, name, at)
    return tuple(furthest)


def _move_delivered(tx: WriteTransaction, destination: str, log: str, position: int) -> None:
    tx.run(
        "INSERT INTO federation_to_device_delivered (destination, log, position) VALUES (?, ?, ?)"
        " ON CONFLICT (destination, log) DO UPDATE SET position = excluded.position"
        " WHERE federation_to_device_delivered.position < excluded.position",
        (destination, tx.intern_one(log), position),
    )


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message to devices of another server."""

    position: int
    number: int
    content: bytes
    message_id: str
    """The same at whichever site it is sent."""


def _message_id(log: str, position: int, number: int) -> str:
    # "The maximum length for the ID is 32 codepoints."
    name = f"{position}.{number}"
    return f"{zlib.crc32(log.encode()):x}.{name}" if log else name


class ToDeviceRemoteRepository:
    def get_with_messages(self, tx: Transaction) -> list[str]:
        """Every destination for whose devices something waits."""
        return [row[0] for row in tx.all("SELECT DISTINCT destination FROM federation_to_device")]

    def get_messages(self, tx: Transaction, destination: str, limit: int) -> list[WaitingMessage]:
        """The oldest ones."""
        rows = tx.all(
            "SELECT position, number, content, log, log_position FROM federation_to_device WHERE destination = ?"
            " ORDER BY position, number LIMIT ?",
            (destination, limit),
        )
        own = find_own_log(tx)
        names = tx.names_of(row[3] for row in rows if row[3] is not None)
        return [
            WaitingMessage(
                position,
                number,
                bytes(content),
                _message_id(own, position, number) if log is None else _message_id(names[log], at, number),
            )
            for position, number, content, log, at in rows
        ]

    def find_message(
        self, tx: Transaction, destination: str, log: str, log_position: int, number: int
    ) -> bytes | None:
        """The content of a message that waits, by the name that it has on all sites."""
        is_own = log == find_own_log(tx)
        where = "log IS NULL AND position = ?" if is_own else "log = ? AND log_position = ?"
        content = tx.value(
            f"SELECT content FROM federation_to_device WHERE destination = ? AND {where} AND number = ?",  # noqa: S608
            (destination, *(() if is_own else (tx.name_id(log),)), log_position, number),
        )
        return None if content is None else bytes(content)

    def find_delivered(self, tx: Transaction, destination: str, log: str) -> int:
        """The position of a log up to which a destination has its messages, as far as was noted."""
        position = tx.value(
            "SELECT position FROM federation_to_device_delivered WHERE destination = ? AND log = ?",
            (destination, tx.name_id(log)),
        )
        return position or 0
