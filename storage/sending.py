"""What is still to be sent to other servers. Events and most EDUs are read from their own tables when they are sent."""

import zlib
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Self

from popcube_server.lazy_dataclasses import dataclass
from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.engines.engine import Row
from storage.replication.own_site import find_own_log
from storage.replication.record_index import RecordIndex

CROSS_SIGNING = ""
"""In place of a device ID: the user's cross-signing keys."""
REMOTE_MESSAGE: Final = "to_device_remote"
"""The record of a message to another server's devices: (destination, log, position, number)."""
REMOTE_DELIVERED: Final = "to_device_remote.delivered"
"""The record of what a destination has: (destination, log)."""
_FIRST_MARK = 1
EPOCH_SHIFT: Final = 36
"""Stream IDs are numbers of JSON, below 2**53: enough for 10**5 leases and 6 * 10**10 positions."""


class SenderReplaced(Conflict):
    """A newer sender took over: this one may send and write nothing any more."""


@dataclass(frozen=True, slots=True)
class TakeOver(Change):
    """A sender begins. The result is its epoch."""

    kind: ClassVar[str] = "sender"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [
            tx.value("UPDATE federation_sender SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
            for _ in changes
        ]


def _check_epoch(tx: Transaction, epochs: Iterable[int]) -> None:
    if tx.value("SELECT epoch FROM federation_sender WHERE id = 1") > min(epochs):
        raise SenderReplaced("another sender has taken over")


@dataclass(frozen=True, slots=True)
class HoldDuty(Change):
    """Committed beside what a sender writes. Raises `SenderReplaced` if it is not the newest any more."""

    kind: ClassVar[str] = "sender_duty"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    epoch: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        _check_epoch(tx, (change.epoch for _, change in changes))


@dataclass(frozen=True, slots=True)
class RoomBehind:
    """A destination misses events of a room from `oldest` on, up to `newest` (None: it is still in the room)."""

    room_id: str
    oldest: int
    newest: int | None
    marked: int


@dataclass(frozen=True, slots=True)
class FallBehind(Change):
    """A destination was not sent everything after a position."""

    kind: ClassVar[str] = "sending_behind"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    since: int
    rooms: tuple[RoomBehind, ...]
    """Each room at most once."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "INSERT INTO federation_lagging (destination, since, marks) VALUES (?, ?, ?)"
            " ON CONFLICT (destination) DO UPDATE SET marks = federation_lagging.marks + 1,"
            " since = CASE WHEN excluded.since < federation_lagging.since THEN excluded.since"
            " ELSE federation_lagging.since END",
            list(
                {
                    change.destination: (change.destination, change.since, _FIRST_MARK)
                    for _, change in sorted(changes, key=lambda one: -one[1].since)
                }.values()
            ),
        )
        rooms = tx.intern(room.room_id for _, change in changes for room in change.rooms)
        rows: dict[tuple[str, int], tuple[str, int, int, int | None, int]] = {}
        for _, change in changes:
            for room in change.rooms:
                key = (change.destination, rooms[room.room_id])
                oldest = min(room.oldest, rows[key][2]) if key in rows else room.oldest
                rows[key] = (*key, oldest, room.newest, room.marked)
        tx.many(
            "INSERT INTO federation_behind (destination, room, oldest, newest, marked) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (destination, room) DO UPDATE SET newest = excluded.newest, marked = excluded.marked",
            list(rows.values()),
        )


@dataclass(frozen=True, slots=True)
class SentLatest(Change):
    """A destination has the latest of these rooms, unless it fell behind in them again meanwhile."""

    kind: ClassVar[str] = "sending_latest"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    rooms: tuple[RoomBehind, ...]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        rooms = tx.intern(room.room_id for _, change in changes for room in change.rooms)
        tx.many(
            "DELETE FROM federation_behind WHERE destination = ? AND room = ? AND marked <= ?",
            [
                (change.destination, rooms[room.room_id], room.marked)
                for _, change in changes
                for room in change.rooms
            ],
        )


@dataclass(frozen=True, slots=True)
class PauseSending(Change):
    """A destination that is behind refused what it was sent: it is tried again at a time (ms since 1970)."""

    kind: ClassVar[str] = "sending_pause"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    retry_at_ms: int
    pause_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE federation_lagging SET retry_at = ?, pause = ? WHERE destination = ?",
            [(change.retry_at_ms, change.pause_ms, change.destination) for _, change in changes],
        )


@dataclass(frozen=True, slots=True)
class RefusedLatest(Change):
    """A destination refused the latest event of a room, which was sent alone. The result tells how often it did."""

    kind: ClassVar[str] = "sending_refused"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    room_id: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        rooms = tx.intern(change.room_id for _, change in changes)
        return [
            tx.value(
                "UPDATE federation_behind SET refused = refused + 1 WHERE destination = ? AND room = ?"
                " RETURNING refused",
                (change.destination, rooms[change.room_id]),
            )
            or 0
            for _, change in changes
        ]


@dataclass(frozen=True, slots=True)
class CaughtUp(Change):
    """A destination misses nothing more. The result tells whether that is so: it may have fallen behind again."""

    kind: ClassVar[str] = "sending_caught_up"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str
    marks: int
    """As they were when catching up began."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [
            bool(
                tx.all(
                    "DELETE FROM federation_lagging WHERE destination = ? AND marks = ? AND NOT EXISTS"
                    " (SELECT 1 FROM federation_behind b WHERE b.destination = federation_lagging.destination)"
                    " RETURNING destination",
                    (change.destination, change.marks),
                )
            )
            for _, change in changes
        ]


@dataclass(frozen=True, slots=True)
class ForgetDestination(Change):
    """Nothing is to be sent to a server: it is not one that this server talks to."""

    kind: ClassVar[str] = "sending_forget"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    destination: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = [(change.destination,) for _, change in changes]
        tx.many("DELETE FROM federation_lagging WHERE destination = ?", names)
        tx.many("DELETE FROM federation_behind WHERE destination = ?", names)
        tx.many("DELETE FROM federation_to_device WHERE destination = ?", names)


@dataclass(frozen=True, slots=True)
class SendToRemoteDevices(Change):
    """One request's messages to devices of other servers: destination and JSON of the EDU's content.

    The `message_id` is added when it is sent, from the entry's position.
    """

    kind: ClassVar[str] = "to_device_remote"
    area: ClassVar[str] = "sending"

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
            # Updates of devices form a chain; those of cross-signing keys are not part of it.
            previous = tx.value(
                "SELECT MAX(stream_id) FROM device_list_updates"
                " WHERE user_nid = ? AND device <> ? AND stream_id < ?",
                (user, CROSS_SIGNING.encode(), change.stream_id),
            )
            _write_device_update(
                tx, (user, change.device_id.encode(), change.position, previous, change.stream_id)
            )
            results.append(previous)
        return results


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
        "INSERT INTO device_list_updates (user_nid, device, position, previous, stream_id)"
        " VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (user_nid, device) DO UPDATE SET position = excluded.position,"
        " previous = excluded.previous, stream_id = excluded.stream_id"
        " WHERE excluded.stream_id > device_list_updates.stream_id",
        [row],
    )


@dataclass(frozen=True, slots=True)
class ForwardEvent(Change):
    """An event of another server's user that this server made part of the room, and tells the room's servers about.

    Committed after the event, when this server is the resident one of a join, leave or knock.
    """

    kind: ClassVar[str] = "forward"
    area: ClassVar[str] = "sending"

    room_id: str
    event_id: str

    def key(self) -> tuple[str, ...]:
        return (self.room_id, self.event_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        # The entry of the log is all there is.
        return


@dataclass(frozen=True, slots=True)
class Lagging:
    """A destination that is behind, and when it may be tried: 0 for at once."""

    destination: str
    retry_at_ms: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind a destination is, and how long it was left alone after it last refused something."""

    since: int
    marks: int
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message to devices of another server."""

    position: int
    number: int
    content: bytes
    message_id: str
    """The same at whichever site it is sent."""


@dataclass(frozen=True, slots=True)
class DeviceUpdate:
    """What is to be told of one device, or of the cross-signing keys."""

    user_id: str
    device_id: str
    position: int
    previous: int | None
    """The `stream_id` of the update before it."""
    stream_id: int


def _message_id(log: str, position: int, number: int) -> str:
    # "The maximum length for the ID is 32 codepoints."
    name = f"{position}.{number}"
    return f"{zlib.crc32(log.encode()):x}.{name}" if log else name


class SendingRepository:
    def get_lagging(self, tx: Transaction) -> list[Lagging]:
        """Every destination that is behind."""
        rows = tx.all(
            "SELECT l.destination, l.retry_at, COALESCE(d.retry_at, 0) FROM federation_lagging l"
            " LEFT JOIN destinations d ON d.name = l.destination"
        )
        return [Lagging(destination, max(retry_times)) for destination, *retry_times in rows]

    def get_with_messages(self, tx: Transaction) -> list[str]:
        """Every destination for whose devices something waits."""
        return [row[0] for row in tx.all("SELECT DISTINCT destination FROM federation_to_device")]

    def find_lag(self, tx: Transaction, destination: str) -> Lag | None:
        row = tx.one(
            "SELECT since, marks, pause FROM federation_lagging WHERE destination = ?", (destination,)
        )
        return None if row is None else Lag(*row)

    def get_rooms_behind(self, tx: Transaction, destination: str, limit: int) -> list[RoomBehind]:
        """Those that wait longest; behind all others those whose latest event was refused."""
        rows = tx.all(
            "SELECT room, oldest, newest, marked FROM federation_behind WHERE destination = ?"
            " ORDER BY refused, oldest LIMIT ?",
            (destination, limit),
        )
        names = tx.names_of(row[0] for row in rows)
        return [RoomBehind(names[row[0]], *row[1:]) for row in rows]

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
