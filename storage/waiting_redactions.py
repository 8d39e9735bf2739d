"""Redactions whose target is not here yet: history found later is redacted by them."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AwaitRedacted(Change):
    """A redaction is in the room and had nothing to redact. Whether it may is decided when its target comes."""

    kind: ClassVar[str] = "waiting_redaction"
    area: ClassVar[str] = "waiting_redactions"
    logged: ClassVar[bool] = False

    room_id: str
    target: str
    redaction: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(change.room_id for _, change in changes)
        tx.many(
            "INSERT INTO waiting_redactions (room, target, redaction) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(names[change.room_id], change.target, change.redaction) for _, change in changes],
        )


class WaitingRedactionsRepository:
    def get_of(self, tx: Transaction, room_id: str, targets: Iterable[str]) -> list[tuple[str, str]]:
        """(target, redaction) of those events of a room that are waited for."""
        found: list[tuple[str, str]] = []
        room, wanted = tx.name_id(room_id), list(targets)
        for start in range(0, len(wanted), IN_LIST_LIMIT):
            found += [
                (row[0], row[1])
                for row in tx.all(
                    "SELECT target, redaction FROM waiting_redactions WHERE room = ? AND target IN (??)"
                    " ORDER BY target, redaction",
                    (room, wanted[start : start + IN_LIST_LIMIT]),
                )
            ]
        return found
