"""Receipts as sync delivers them: as few `m.receipt` events per room as can hold them.

Source: client-server API, "Receipts".
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from storage.database import Database, Transaction
from storage.receipts import ReceiptRow, ReceiptsRepository


class SyncedReceipts:
    """Everybody's public receipts and the reader's own private ones."""

    def __init__(self, database: Database, repository: ReceiptsRepository) -> None:
        self._database = database
        self._repository = repository

    async def get_changed(
        self, user_id: str, room_ids: Collection[str], after: int, upto: int
    ) -> Mapping[str, list[dict[str, Any]]]:
        """By room ID contents of `m.receipt`: what changed last at `after` < p <= `upto`; no entry if nothing did."""
        return await self._database.read(
            lambda tx: self.get_changed_within(tx, user_id, room_ids, after, upto)
        )

    def get_changed_within(
        self, tx: Transaction, user_id: str, room_ids: Collection[str], after: int, upto: int
    ) -> Mapping[str, list[dict[str, Any]]]:
        """As `get_changed`, within somebody else's read."""
        return receipt_contents(self._repository.get_visible(tx, user_id, room_ids, after, upto))


def receipt_contents(rows: Sequence[ReceiptRow]) -> dict[str, list[dict[str, Any]]]:
    """By room: event ID, then type, then user, then when and in which thread."""
    contents: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        receipt: dict[str, Any] = {"ts": row.ts}
        if row.thread_id is not None:
            receipt["thread_id"] = row.thread_id
        _put(contents.setdefault(row.room_id, []), row, receipt)
    return contents


def _put(contents: list[dict[str, Any]], row: ReceiptRow, receipt: dict[str, Any]) -> None:
    # In one content an event has room for one receipt per type and user; the same event can have several, of
    # different threads or of none.
    for content in contents:
        users = content.setdefault(row.event_id, {}).setdefault(row.type, {})
        if row.user_id not in users:
            users[row.user_id] = receipt
            return
    contents.append({row.event_id: {row.type: {row.user_id: receipt}}})
