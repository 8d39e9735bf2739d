"""PDUs of other servers that were answered with success before they could be worked off."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InboundPdu:
    """Which PDU waits: an event of a room, as one server sent it."""

    origin: str
    room_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class StagePdu(Change):
    """Keep a PDU until it is worked off. One that waits already stays as it is."""

    kind: ClassVar[str] = "inbound_pdu"
    area: ClassVar[str] = "inbound_pdus"
    logged: ClassVar[bool] = False

    key_of: InboundPdu
    pdu: bytes
    """Its JSON."""
    at_ms: int
    place: int
    """Of those of one time, the lower one came first."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern({change.key_of.room_id for _, change in changes})
        tx.many(
            "INSERT INTO inbound_pdus (origin, room, event_id, pdu, at_ms, place) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [
                (
                    change.key_of.origin,
                    names[change.key_of.room_id],
                    change.key_of.event_id,
                    change.pdu,
                    change.at_ms,
                    change.place,
                )
                for _, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class UnstagePdu(Change):
    """The PDU was worked off."""

    kind: ClassVar[str] = "inbound_pdu"
    area: ClassVar[str] = "inbound_pdus"
    logged: ClassVar[bool] = False

    key_of: InboundPdu

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern({change.key_of.room_id for _, change in changes})
        tx.many(
            "DELETE FROM inbound_pdus WHERE origin = ? AND room = ? AND event_id = ?",
            [
                (change.key_of.origin, names[change.key_of.room_id], change.key_of.event_id)
                for _, change in changes
            ],
        )


class InboundPdusRepository:
    """Reads what waits."""

    def get_all(self, tx: Transaction, limit: int) -> list[InboundPdu]:
        """Those that came first."""
        rows = tx.all(
            "SELECT origin, room, event_id FROM inbound_pdus ORDER BY at_ms, place LIMIT ?", (limit,)
        )
        names = tx.names_of(row[1] for row in rows)
        return [InboundPdu(origin, names[room], event_id) for origin, room, event_id in rows]

    def find_pdu(self, tx: Transaction, pdu: InboundPdu) -> bytes | None:
        """Its JSON; None if it does not wait."""
        json: bytes | None = tx.value(
            "SELECT pdu FROM inbound_pdus WHERE origin = ? AND room = ? AND event_id = ?",
            (pdu.origin, tx.name_id(pdu.room_id), pdu.event_id),
        )
        return json
