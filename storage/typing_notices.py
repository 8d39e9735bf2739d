"""Typing: kept in memory only; the log tells that it changed. What sites tell each other of it is in a table."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

import orjson

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.replication.own_site import find_own_log
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TypingChanged(Change):
    """Who is typing in a room became another."""

    kind: ClassVar[str] = "typing"
    area: ClassVar[str] = "typing"

    room_id: str
    user_ids: tuple[str, ...]
    """Everybody who types now."""

    def key(self) -> tuple[str, ...]:
        return (self.room_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.room_id, str(result))),) if result else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        """On several sites, this one's log."""
        log = find_own_log(tx)
        # On one site there is nothing to write: after a restart nobody is typing.
        if log:
            for _, change in changes:
                _write(tx, change.room_id, log, change.user_ids)
        return [log for _ in changes]


@dataclass(frozen=True, slots=True)
class PeerTyping(Change):
    """Who is typing in a room by what another site says."""

    kind: ClassVar[str] = "typing"
    area: ClassVar[str] = "typing"

    room_id: str
    log: str
    user_ids: tuple[str, ...]

    def key(self) -> tuple[str, ...]:
        return (self.room_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            _write(tx, change.room_id, change.log, change.user_ids)


def _write(tx: WriteTransaction, room_id: str, log: str, user_ids: Sequence[str]) -> None:
    tx.run(
        "INSERT INTO typing (room, log, users) VALUES (?, ?, ?)"
        " ON CONFLICT (room, log) DO UPDATE SET users = excluded.users",
        (tx.intern_one(room_id), tx.intern_one(log), orjson.dumps(user_ids)),
    )


def find_typing(tx: Transaction, room_id: str, log: str) -> list[str] | None:
    """Who a site said was typing last."""
    users = tx.value(
        "SELECT users FROM typing WHERE room = ? AND log = ?", (tx.name_id(room_id), tx.name_id(log))
    )
    return None if users is None else list(orjson.loads(users))
