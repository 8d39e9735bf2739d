"""What peer sites sent and this one could not make use of, kept until it can: see migrations/0275_held_back.sql.

There is a bound to it. Beyond that a batch of which something would have to be kept is refused as a whole: its sender
keeps it, and tries again.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar, Final, Self

import orjson

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.replication.hybrid_clock import MAX_CLOCK
from storage.replication.record import Record, Version
from synapse_like_config.lazy_dataclasses import dataclass

MAX_REASON = 300
MAX_HELD: Final = 100_000
"""Events and records that are kept at a time, about: what one batch has may come on top."""
MAX_HELD_BYTES: Final = 1024 * 1024 * 1024
"""And so much of them."""


class NoRoomToHold(Conflict):
    """As much is kept for later as may be."""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event as a peer sent it, unchecked."""

    site: str
    room_id: str
    room_version: str
    is_soft_failed: bool
    pdu: bytes
    """Canonical JSON."""

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.pdu).digest()


@dataclass(frozen=True, slots=True)
class TriedEvent:
    """One that waits, and how often it was tried again."""

    event: HeldEvent
    tries: int


@dataclass(frozen=True, slots=True)
class HeldCounts:
    """How much waits."""

    records: int
    events: int
    size_bytes: int

    @property
    def is_full(self) -> bool:
        return self.records + self.events >= MAX_HELD or self.is_too_long

    @property
    def is_too_long(self) -> bool:
        return self.size_bytes >= MAX_HELD_BYTES


@dataclass(frozen=True, slots=True)
class HoldRecord(Change):
    """A record is kept for later. Of one site's versions, the latest. Raises `NoRoomToHold`."""

    kind: ClassVar[str] = "held_record"
    area: ClassVar[str] = "held_back"
    logged: ClassVar[bool] = False

    record: Record
    reason: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        room = _Room(tx)
        for _, change in changes:
            record = change.record
            # With numbers of any size.
            value = json.dumps(record.value).encode()
            of = (tx.intern_one(record.kind), orjson.dumps(record.key), tx.intern_one(record.version.site))
            held = tx.one(
                "SELECT clock, LENGTH(value) FROM held_records WHERE kind = ? AND record_key = ? AND site = ?",
                of,
            )
            if held is None:
                room.check()
            elif record.version.clock < held[0]:
                continue
            elif len(value) > held[1]:
                # In place of the one before: one more there is not.
                room.check_bytes()
            tx.run(
                "INSERT INTO held_records (kind, record_key, site, clock, owner, value, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, record_key, site) DO UPDATE SET"
                " clock = excluded.clock, owner = excluded.owner, value = excluded.value, reason = excluded.reason",
                (*of, record.version.clock, record.owner, value, change.reason[:MAX_REASON]),
            )


@dataclass(frozen=True, slots=True)
class ReleaseRecord(Change):
    """A record has been taken; unless a later version has come to wait meanwhile."""

    kind: ClassVar[str] = "held_record"
    area: ClassVar[str] = "held_back"
    logged: ClassVar[bool] = False

    record: Record

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            record = change.record
            tx.run(
                "DELETE FROM held_records WHERE kind = ? AND record_key = ? AND site = ? AND clock <= ?",
                (
                    tx.name_id(record.kind),
                    orjson.dumps(record.key),
                    tx.name_id(record.version.site),
                    record.version.clock,
                ),
            )


@dataclass(frozen=True, slots=True)
class HoldEvent(Change):
    """An event is kept for later. One that waits already waits on as it is. Raises `NoRoomToHold`."""

    kind: ClassVar[str] = "held_event"
    area: ClassVar[str] = "held_back"
    logged: ClassVar[bool] = False

    event: HeldEvent
    reason: str
    now_ms: int
    retry_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        room = _Room(tx)
        for _, change in changes:
            event = change.event
            if tx.one("SELECT 1 FROM held_events WHERE digest = ?", (event.digest,)) is not None:
                # It takes no more room, and whoever sends it again must not wait until there is some.
                continue
            room.check()
            tx.run(
                "INSERT INTO held_events (digest, site, room_id, room_version, soft_failed, pdu, reason, since_ms,"
                " tries, retry_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event.digest,
                    tx.intern_one(event.site),
                    event.room_id,
                    event.room_version,
                    int(event.is_soft_failed),
                    event.pdu,
                    change.reason[:MAX_REASON],
                    change.now_ms,
                    0,
                    change.retry_ms,
                ),
            )


@dataclass(frozen=True, slots=True)
class PostponeEvent(Change):
    """An event was tried again, and waits on."""

    kind: ClassVar[str] = "held_event"
    area: ClassVar[str] = "held_back"
    logged: ClassVar[bool] = False

    digest: bytes
    reason: str
    retry_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run(
                "UPDATE held_events SET tries = tries + 1, reason = ?, retry_ms = ? WHERE digest = ?",
                (change.reason[:MAX_REASON], change.retry_ms, change.digest),
            )


@dataclass(frozen=True, slots=True)
class ReleaseEvent(Change):
    """An event is part of its room."""

    kind: ClassVar[str] = "held_event"
    area: ClassVar[str] = "held_back"
    logged: ClassVar[bool] = False

    digest: bytes

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many("DELETE FROM held_events WHERE digest = ?", [(change.digest,) for _, change in changes])


class HeldBackRepository:
    def count(self, tx: Transaction) -> HeldCounts:
        rows = tx.all(
            "SELECT 0, COUNT(*), COALESCE(SUM(LENGTH(value)), 0) FROM held_records"
            " UNION ALL SELECT 1, COUNT(*), COALESCE(SUM(LENGTH(pdu)), 0) FROM held_events"
        )
        (_, records, record_bytes), (_, events, event_bytes) = sorted(rows)
        return HeldCounts(records, events, int(record_bytes) + int(event_bytes))

    def get_rooms(self, tx: Transaction) -> set[str]:
        """The rooms of events that wait."""
        return {row[0] for row in tx.all("SELECT DISTINCT room_id FROM held_events")}

    def get_records(
        self, tx: Transaction, kinds: Collection[str], after_clock: int, limit: int
    ) -> list[Record]:
        """Of these kinds, in the order in which they were written. About `limit`: never only some of one clock."""
        numbers = list(tx.name_ids(kinds).values())
        upto = tx.value(
            "SELECT clock FROM held_records WHERE kind IN (??) AND clock > ? ORDER BY clock LIMIT 1 OFFSET ?",
            (numbers, after_clock, limit - 1),
        )
        rows = tx.all(
            "SELECT kind, record_key, value, clock, site, owner FROM held_records WHERE kind IN (??)"
            " AND clock > ? AND clock <= ? ORDER BY clock",
            (numbers, after_clock, MAX_CLOCK if upto is None else upto),
        )
        names = tx.names_of(number for row in rows for number in (row[0], row[4]))
        return [
            Record(
                names[row[0]],
                tuple(orjson.loads(row[1])),
                json.loads(row[2]),
                Version(row[3], names[row[4]]),
                row[5],
            )
            for row in rows
        ]

    def find_held(self, tx: Transaction, records: Iterable[Record]) -> list[Record]:
        """Those of these that are kept, in just this version."""
        if tx.one("SELECT 1 FROM held_records LIMIT 1") is None:
            return []
        return [record for record in records if self._is_held(tx, record)]

    def _is_held(self, tx: Transaction, record: Record) -> bool:
        row = tx.one(
            "SELECT 1 FROM held_records WHERE kind = ? AND record_key = ? AND site = ? AND clock = ?",
            (
                tx.name_id(record.kind),
                orjson.dumps(record.key),
                tx.name_id(record.version.site),
                record.version.clock,
            ),
        )
        return row is not None

    def get_events(self, tx: Transaction, until_ms: int, limit: int) -> list[TriedEvent]:
        """Those that are to be tried again by then, those that came first before the others."""
        return self._events(tx, "retry_ms <= ?", (until_ms,), limit)

    def get_events_of(self, tx: Transaction, room_id: str, limit: int) -> list[TriedEvent]:
        return self._events(tx, "room_id = ?", (room_id,), limit)

    def _events(
        self, tx: Transaction, where: str, parameters: tuple[int | str], limit: int
    ) -> list[TriedEvent]:
        rows = tx.all(
            "SELECT site, room_id, room_version, soft_failed, pdu, tries FROM held_events"  # noqa: S608
            f" WHERE {where} ORDER BY since_ms LIMIT ?",
            (*parameters, limit),
        )
        names = tx.names_of(row[0] for row in rows)
        return [
            TriedEvent(HeldEvent(names[row[0]], row[1], row[2], bool(row[3]), bytes(row[4])), row[5])
            for row in rows
        ]


class _Room:
    """Whether more may be kept. Looked up once for the changes of a run, for it counts all that is kept."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._counts: HeldCounts | None = None

    def check(self) -> None:
        """For one more. Raises `NoRoomToHold`."""
        counts = self._get_counts()
        if counts.is_full:
            raise _no_room(counts)

    def check_bytes(self) -> None:
        """For a longer one in place of one that is there. Raises `NoRoomToHold`."""
        counts = self._get_counts()
        if counts.is_too_long:
            raise _no_room(counts)

    def _get_counts(self) -> HeldCounts:
        if self._counts is None:
            self._counts = HeldBackRepository().count(self._tx)
        return self._counts


def _no_room(counts: HeldCounts) -> NoRoomToHold:
    return NoRoomToHold(
        f"{counts.records} records and {counts.events} events of other sites are kept for later already"
        f" ({counts.size_bytes} bytes), and nothing more is, until some of them can be taken"
    )
