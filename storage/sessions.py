"""Sessions: logins, whose tokens are macaroons that name the session and its generation."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.accounts import ACCOUNT_COLUMNS, AccountRow, account_row
from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session that was not ended."""

    session_id: str
    user_id: str
    device_id: str
    created_ms: int
    generation: int
    nonce: str
    next_nonce: str | None


_COLUMNS = "session_id, user_id, device_id, created_ms, generation, nonce, next_nonce FROM sessions"

_WITH_ACCOUNT = (
    "SELECT s.session_id, s.user_id, s.device_id, s.created_ms, s.generation, s.nonce, s.next_nonce,"  # noqa: S608
    f" {ACCOUNT_COLUMNS} FROM sessions AS s"
    " JOIN accounts ON accounts.user_id = s.user_id WHERE s.session_id = ? AND s.ended_ms IS NULL"
)


class SessionsRepository:
    def find(self, tx: Transaction, session_id: str) -> SessionRow | None:
        """The session, or None if it was ended or never was."""
        row = tx.one(f"SELECT {_COLUMNS} WHERE session_id = ? AND ended_ms IS NULL", (session_id,))
        return None if row is None else SessionRow(*row)

    def find_with_account(self, tx: Transaction, session_id: str) -> tuple[SessionRow, AccountRow] | None:
        """The session and whose it is, or None if it was ended or never was."""
        row = tx.one(_WITH_ACCOUNT, (session_id,))
        return None if row is None else (SessionRow(*row[:7]), account_row(row[7:]))

    def find_any(self, tx: Transaction, session_id: str) -> tuple[SessionRow, int | None] | None:
        """The session, also if it was ended, and when it was."""
        row = tx.one(
            "SELECT session_id, user_id, device_id, created_ms, generation, nonce, next_nonce, ended_ms"
            " FROM sessions WHERE session_id = ?",
            (session_id,),
        )
        return None if row is None else (SessionRow(*row[:7]), row[7])


@dataclass(frozen=True, slots=True)
class CreateSession(Change):
    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    session_id: str
    user_id: str
    device_id: str
    created_ms: int
    nonce: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.session_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.later(
            "INSERT INTO sessions (session_id, user_id, device_id, created_ms, generation, nonce, position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    change.session_id,
                    change.user_id,
                    change.device_id,
                    change.created_ms,
                    0,
                    change.nonce,
                    position,
                )
                for position, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class IssueNextTokens(Change):
    """A refresh: tokens of the next generation are on their way; earlier unused ones are void.

    Its result is False if `generation` is not the newest any more: then nothing was written.
    """

    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    session_id: str
    user_id: str
    generation: int
    next_nonce: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.session_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [
            bool(
                tx.all(
                    "UPDATE sessions SET next_nonce = ?, position = ?"
                    " WHERE session_id = ? AND generation = ? AND ended_ms IS NULL RETURNING generation",
                    (change.next_nonce, position, change.session_id, change.generation),
                )
            )
            for position, change in changes
        ]


@dataclass(frozen=True, slots=True)
class UseNextTokens(Change):
    """A token of the next generation was used: it is the present one now, those before it are void."""

    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    session_id: str
    user_id: str
    next_nonce: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.session_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE sessions SET generation = generation + 1, nonce = next_nonce, next_nonce = NULL, position = ?"
            " WHERE session_id = ? AND next_nonce = ?",
            [(position, change.session_id, change.next_nonce) for position, change in changes],
        )


@dataclass(frozen=True, slots=True)
class EndSession(Change):
    """A logout that leaves the device (there is none, or it goes by a change of its own)."""

    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    session_id: str
    user_id: str
    at_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.session_id)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE sessions SET ended_ms = ?, position = ? WHERE session_id = ? AND ended_ms IS NULL",
            [(change.at_ms, position, change.session_id) for position, change in changes],
        )


@dataclass(frozen=True, slots=True)
class EndSessionsOfDevice(Change):
    """Every login on a device ends; the device itself may stay for the next one."""

    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    user_id: str
    device_id: str
    at_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, "")

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return _ended_records(self.user_id, result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Gives the IDs of the sessions that it ended."""
        return [
            _ids(
                tx.all(
                    "UPDATE sessions SET ended_ms = ?, position = ?"
                    " WHERE user_id = ? AND device_id = ? AND ended_ms IS NULL RETURNING session_id",
                    (change.at_ms, position, change.user_id, change.device_id),
                )
            )
            for position, change in changes
        ]


@dataclass(frozen=True, slots=True)
class EndSessionsOfUser(Change):
    """Every login of an account ends."""

    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    user_id: str
    at_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, "")

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return _ended_records(self.user_id, result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Gives the IDs of the sessions that it ended."""
        return [
            _ids(
                tx.all(
                    "UPDATE sessions SET ended_ms = ?, position = ?"
                    " WHERE user_id = ? AND ended_ms IS NULL RETURNING session_id",
                    (change.at_ms, position, change.user_id),
                )
            )
            for position, change in changes
        ]


def _ids(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row[0] for row in rows)


def _ended_records(user_id: str, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
    assert isinstance(result, tuple)
    return (("session", (user_id, session_id)) for session_id in result)


@dataclass(frozen=True, slots=True)
class MergeSession(Change):
    """A session as it is with what another site said of it."""

    kind: ClassVar[str] = "session"
    area: ClassVar[str] = "sessions"

    session: SessionRow
    ended_ms: int | None

    def key(self) -> tuple[str, ...]:
        return (self.session.user_id, self.session.session_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            session = change.session
            tx.run(
                "INSERT INTO sessions (session_id, user_id, device_id, created_ms, generation, nonce, next_nonce,"
                " ended_ms, position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (session_id) DO UPDATE SET generation = excluded.generation, nonce = excluded.nonce,"
                " next_nonce = excluded.next_nonce, ended_ms = excluded.ended_ms, position = excluded.position",
                (
                    session.session_id,
                    session.user_id,
                    session.device_id,
                    session.created_ms,
                    session.generation,
                    session.nonce,
                    session.next_nonce,
                    change.ended_ms,
                    position,
                ),
            )
