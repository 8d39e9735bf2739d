"""Reports by users: about an event, a room or another user. They are there for administrators to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction


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

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(
            name
            for _, change in changes
            for name in (change.reporter, change.room_id, change.user_id)
            if name is not None
        )
        tx.many(
            "INSERT INTO reports (report, kind, made_ms, reporter, room, event_id, user_nid, reason, score)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                )
                for position, change in changes
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


class ReportsRepository:
    def get_before(self, tx: Transaction, before: int, limit: int) -> list[ReportRow]:
        """The newest reports with a number below `before`, the newest first."""
        rows = tx.all(
            "SELECT report, kind, made_ms, reporter, room, event_id, user_nid, reason, score FROM reports"
            " WHERE report < ? ORDER BY report DESC LIMIT ?",
            (before, limit),
        )
        names = tx.names_of(
            number for row in rows for number in (row[3], row[4], row[6]) if number is not None
        )
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
