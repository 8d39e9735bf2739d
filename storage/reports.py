"""Reports by users: about an event, a room or another user. They are there for administrators to read."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from storage.replication.own_site import find_own_log
from synapse_like_config.lazy_dataclasses import dataclass

REPORT: Final = "report"
"""The record of a report: (log, position)."""


class ReportKind(IntEnum):
    EVENT = 1
    ROOM = 2
    USER = 3


@dataclass(frozen=True, slots=True)
class MakeReport(Change):
    kind: ClassVar[str] = "report"
    area: ClassVar[str] = "reports"

    about: ReportKind
    made_ms: int
    reporter: str
    room_id: str | None
    event_id: str | None
    user_id: str | None
    """The event's sender, or the reported user."""
    reason: str | None
    score: int | None

    def key(self) -> tuple[str, ...]:
        return (self.reporter,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return () if result is None else ((REPORT, result),)  # type: ignore[return-value]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, the key of the report's record."""
        _insert(tx, [(position, change, None, None) for position, change in changes])
        log = find_own_log(tx)
        return [(log, str(position)) if log else None for position, _ in changes]


@dataclass(frozen=True, slots=True)
class MergeReport(Change):
    """A report that was made at another site."""

    kind: ClassVar[str] = "report"
    area: ClassVar[str] = "reports"

    report: MakeReport
    log: str
    log_position: int

    def key(self) -> tuple[str, ...]:
        return self.report.key()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        logs = tx.intern(change.log for _, change in changes)
        _insert(
            tx,
            [
                (position, change.report, logs[change.log], change.log_position)
                for position, change in changes
            ],
        )


def _insert(tx: WriteTransaction, reports: Sequence[tuple[int, MakeReport, int | None, int | None]]) -> None:
    names = tx.intern(
        name
        for _, change, *_ in reports
        for name in (change.reporter, change.room_id, change.user_id)
        if name is not None
    )
    tx.many(
        "INSERT INTO reports"
        " (report, kind, made_ms, reporter, room, event_id, user_nid, reason, score, log, log_position)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                position,
                int(change.about),
                change.made_ms,
                names[change.reporter],
                None if change.room_id is None else names[change.room_id],
                change.event_id,
                None if change.user_id is None else names[change.user_id],
                None if change.reason is None else change.reason.encode(),
                change.score,
                log,
                log_position,
            )
            for position, change, log, log_position in reports
        ],
    )


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A stored report; its number grows with time."""

    number: int
    about: ReportKind
    made_ms: int
    reporter: str
    room_id: str | None
    event_id: str | None
    user_id: str | None
    reason: str | None
    score: int | None


_COLUMNS = "report, kind, made_ms, reporter, room, event_id, user_nid, reason, score FROM reports"


class ReportsRepository:
    def get_before(self, tx: Transaction, before: int, limit: int) -> list[ReportRow]:
        """The newest reports with a number below `before`, the newest first."""
        return _rows(
            tx, tx.all(f"SELECT {_COLUMNS} WHERE report < ? ORDER BY report DESC LIMIT ?", (before, limit))
        )

    def find(self, tx: Transaction, log: str, log_position: int) -> ReportRow | None:
        """A report by the name that it has on all sites."""
        if log == find_own_log(tx):
            rows = tx.all(f"SELECT {_COLUMNS} WHERE report = ? AND log IS NULL", (log_position,))
        else:
            number = tx.name_id(log)
            rows = tx.all(f"SELECT {_COLUMNS} WHERE log = ? AND log_position = ?", (number, log_position))
        return _rows(tx, rows)[0] if rows else None


def _rows(tx: Transaction, rows: Sequence[Row]) -> list[ReportRow]:
    names = tx.names_of(number for row in rows for number in (row[3], row[4], row[6]) if number is not None)
    return [
        ReportRow(
            number,
            ReportKind(kind),
            made_ms,
            names[reporter],
            None if room is None else names[room],
            event_id,
            None if user is None else names[user],
            None if reason is None else bytes(reason).decode(),
            score,
        )
        for number, kind, made_ms, reporter, room, event_id, user, reason, score in rows
    ]
