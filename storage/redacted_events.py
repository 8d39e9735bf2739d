"""Redacted events whose content is still stored, and taking it away for good."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnprunedEvent:
    """A redacted event with everything that was in it."""

    nid: int
    event_id: str
    room_version: str
    json: bytes


class RedactedEventsRepository:
    def get_unpruned(self, tx: Transaction, before_ms: int, limit: int) -> list[UnprunedEvent]:
        """Of the `limit` events redacted first, those whose redaction was stored before a time."""
        rows = tx.all(
            "SELECT e.nid, e.event_id, r.version, e.json, l.at_ms FROM events e JOIN rooms r ON r.room = e.room"
            " LEFT JOIN log l ON l.position = e.redacted_by"
            " WHERE e.redacted_by IS NOT NULL AND e.pruned = 0 ORDER BY e.redacted_by LIMIT ?",
            (limit,),
        )
        return [
            UnprunedEvent(nid, event_id, version, bytes(json))
            for nid, event_id, version, json, at_ms in rows
            # The log may not reach back that far.
            if at_ms is None or at_ms < before_ms
        ]


@dataclass(frozen=True, slots=True)
class PruneEvent(Change):
    """What was redacted is not kept any more. Nobody sees a difference, so it is not in the log."""

    kind: ClassVar[str] = "prune"
    area: ClassVar[str] = "rooms"
    logged: ClassVar[bool] = False

    nid: int
    json: bytes
    """The event in its redacted form."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.many(
            "UPDATE events SET json = ?, pruned = 1 WHERE nid = ?",
            [(change.json, change.nid) for _, change in changes],
        )
