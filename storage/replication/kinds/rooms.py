"""What users did in rooms, other than events: how far they read, which rooms they forgot, what they sent once.

Receipts compare by a place that events have everywhere: depth, then time, then ID. The larger one stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from storage.change import Change
from storage.database import Transaction
from storage.memberships import ForgetRoom, MembershipsRepository
from storage.receipts import MergeReceipt, ReceiptsRepository, StoreReceipt
from storage.replication.record import Combined, Key, Record, Taken, Version
from storage.transactions import (
    TRANSACTION,
    MergeTransaction,
    SupersededSend,
    TransactionsRepository,
)

_Place = tuple[int, int, str]
_NOWHERE: Final[_Place] = (-1, -1, "")


class ReceiptKind:
    """How far a user has read in a room or thread."""

    name: Final = StoreReceipt.kind
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        values: dict[Key, Any] = {}
        for key in keys:
            row = ReceiptsRepository().find(tx, key[0], key[1], key[2], key[3])
            if row is not None:
                place, _ = _find_place(tx, row.event_id)
                values[key] = {"event_id": row.event_id, "ts": row.ts, "depth": place[0], "sent": place[1]}
        return values

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        value = record.value
        if value is None:
            return None
        user_id, room_id, receipt_type, thread_id = record.key
        theirs: _Place = (value["depth"], value["sent"], value["event_id"])
        row = ReceiptsRepository().find(tx, user_id, room_id, receipt_type, thread_id)
        ours, read_here = _NOWHERE, 0
        if row is not None:
            ours, read_here = _find_place(tx, row.event_id)[0], row.ordering
        is_newer = present is None or present < record.version
        if theirs <= ours:
            # Sent later, and behind: the other site hears what is further.
            return Combined(()) if is_newer and theirs < ours else None
        ordering = max(read_here, _find_place(tx, value["event_id"])[1])
        change = MergeReceipt(
            room_id, user_id, receipt_type, thread_id or None, value["event_id"], ordering, value["ts"]
        )
        return Taken((change,)) if is_newer else Combined((change,))


def _find_place(tx: Transaction, event_id: str) -> tuple[_Place, int]:
    """Where an event is on all sites, and its ordering on this one."""
    row = tx.one("SELECT json, ordering FROM events WHERE event_id = ?", (event_id,))
    if row is None:
        return (-1, -1, event_id), 0
    pdu = orjson.loads(row[0])
    return (int(pdu["depth"]), int(pdu["origin_server_ts"]), event_id), int(row[1])


class ForgetKind:
    """That a user wants to see nothing more of a room: of the membership that they have, not of a later one."""

    name: Final = ForgetRoom.kind
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        values: dict[Key, Any] = {}
        for key in keys:
            found = _find_membership(tx, *key)
            if found is not None and found[1]:
                values[key] = found[0]
        return values

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        if record.value is None or (present is not None and present >= record.version):
            return None
        user_id, room_id = record.key
        found = _find_membership(tx, user_id, room_id)
        changes: tuple[Change, ...] = ()
        if found is not None and found[0] == record.value and not found[1]:
            changes = (ForgetRoom(user_id, room_id),)
        return Taken(changes)


def _find_membership(tx: Transaction, user_id: str, room_id: str) -> tuple[str, bool] | None:
    """The ID of the member event, and whether the room is forgotten."""
    row = MembershipsRepository().find(tx, room_id, user_id)
    if row is None:
        return None
    event_id: str | None = tx.value("SELECT event_id FROM events WHERE nid = ?", (row.event_nid,))
    return None if event_id is None else (event_id, row.forgotten)


class TransactionKind:
    """What a request of a client made. Of two that it made on two sites, the earlier one; the other is taken back."""

    name: Final = TRANSACTION
    is_of_user: Final = False

    def __init__(self) -> None:
        self._repository = TransactionsRepository()

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: self._repository.find(tx, key[0], bytes.fromhex(key[1])) for key in keys}
        return {key: {"event_id": row[0], "at_ms": row[1]} for key, row in found.items() if row is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None:
            return None
        scope, request = record.key[0], bytes.fromhex(record.key[1])
        ours = self._repository.find(tx, scope, request)
        merged = MergeTransaction(scope, request, value["event_id"], value["at_ms"])
        if ours is None:
            return Taken((merged,))
        if ours[0] == value["event_id"] or present is None or present < record.version:
            # The site that made the later one hears of ours, and takes its own back.
            return None
        if not ours[0]:
            return Taken((merged,))
        return Taken((merged, SupersededSend(scope, ours[0])))


ROOMS: Final = (ReceiptKind(), ForgetKind(), TransactionKind())
