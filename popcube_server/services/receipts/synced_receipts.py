"""Receipts as sync delivers them: one `m.receipt` event per room.

Source: client-server API, "Receipts".
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson

from popcube_server.services.sync.sources import DataEntry
from storage.database import Database
from storage.log import Log
from storage.receipts import MAIN_THREAD, PRIVATE, ReceiptRow, ReceiptsRepository, StoreReceipt

RECEIPT: Final = "m.receipt"


class SyncedReceipts:
    """Sync's source of receipts: everybody's public ones and the reader's own private ones."""

    def __init__(self, database: Database, repository: ReceiptsRepository, log: Log) -> None:
        self._database = database
        self._repository = repository
        self._log = log

    async def between(
        self, user_id: str, room_ids: Collection[str], since: int | None, upto: int
    ) -> Mapping[str, DataEntry]:
        """By room what was read after `since` and up to `upto`; everything if `since` is None."""
        rows = None if since is None else self._find_in_log(user_id, room_ids, since, upto)
        if rows is None:
            after = since or 0
            rows = await self._database.read(
                lambda tx: self._repository.get_visible(tx, user_id, room_ids, after, upto)
            )
        contents = receipt_contents(rows)
        return {room_id: DataEntry(RECEIPT, orjson.dumps(content)) for room_id, content in contents.items()}

    def _find_in_log(
        self, user_id: str, room_ids: Collection[str], since: int, upto: int
    ) -> Sequence[ReceiptRow] | None:
        entries = self._log.since(since)
        if entries is None:
            return None
        wanted = frozenset(room_ids)
        found: dict[tuple[str, ...], ReceiptRow] = {}
        for entry in entries:
            if entry.kind != StoreReceipt.kind or entry.position > upto or entry.key[0] not in wanted:
                continue
            receipt = entry.change
            if not isinstance(receipt, StoreReceipt):
                # Written by another process: only the database has the value.
                return None
            # "Servers MUST NOT send the `m.read.private` receipt to any other user than the one which originally
            # sent it."
            if receipt.type == PRIVATE and receipt.user_id != user_id:
                continue
            # Of two that were sent at once, the one behind was not stored. One that another site sent is never behind.
            if entry.key not in found or receipt.ordering >= found[entry.key].ordering:
                found[entry.key] = _row(receipt, entry.position)
        return list(found.values())


def receipt_contents(rows: Sequence[ReceiptRow]) -> dict[str, dict[str, Any]]:
    """By room: event ID, then type, then user, then when and in which thread."""
    contents: dict[str, dict[str, Any]] = {}
    # An event has room for one receipt per type and user. Of several, the one that says most comes last: on the whole
    # room, else on the main timeline.
    for row in sorted(rows, key=lambda row: (row.thread_id is None, row.thread_id == MAIN_THREAD)):
        receipt: dict[str, Any] = {"ts": row.ts}
        if row.thread_id is not None:
            receipt["thread_id"] = row.thread_id
        event = contents.setdefault(row.room_id, {}).setdefault(row.event_id, {})
        event.setdefault(row.type, {})[row.user_id] = receipt
    return contents


def _row(receipt: StoreReceipt, position: int) -> ReceiptRow:
    return ReceiptRow(
        receipt.room_id,
        receipt.user_id,
        receipt.type,
        receipt.thread_id,
        receipt.event_id,
        receipt.ordering,
        receipt.ts,
        position,
    )
