"""Mark as read: receipts, and the marker of what was fully read.

Source: client-server API, "Receipts" and "Read and unread markers".
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from federation.room_dag.canonical_json import encode_canonical
from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.account_data.account_data import FULLY_READ
from popcube_server.services.errors import InvalidParam, NotAllowed, NotFound
from popcube_server.services.platform import Platform
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.account_data import AccountDataRepository, SetAccountData
from storage.change import Change
from storage.committer import Committer
from storage.database import Database, Transaction
from storage.events import OUTLIER
from storage.receipts import MAIN_THREAD, PRIVATE, PUBLIC, ReceiptRow, ReceiptsRepository, StoreReceipt
from synapse_like_config.lazy_dataclasses import dataclass

RECEIPT_TYPES: Final = (PUBLIC, PRIVATE, FULLY_READ)


@dataclass(frozen=True, slots=True)
class ReadRepositories:
    """Where it is kept what was read."""

    receipts: ReceiptsRepository
    account_data: AccountDataRepository


class SendReceipt:
    """Receipts and markers only move forward; one that is not ahead of what is there is answered and not stored."""

    def __init__(
        self,
        database: Database,
        repositories: ReadRepositories,
        committer: Committer,
        events: EventStore,
        user_rooms: UserRooms,
        platform: Platform,
    ) -> None:
        self._database = database
        self._repositories = repositories
        self._committer = committer
        self._events = events
        self._user_rooms = user_rooms
        self._platform = platform

    async def send(
        self, requester: Requester, room_id: str, receipt_type: str, event_id: str, thread_id: str | None
    ) -> None:
        """Raises `InvalidParam`, `NotAllowed` for whoever is not in the room, `NotFound` for an unknown event."""
        if receipt_type not in RECEIPT_TYPES:
            raise InvalidParam(f"The type of a receipt must be one of: {', '.join(RECEIPT_TYPES)}.")
        if thread_id is not None:
            _check_thread_id(receipt_type, thread_id)
        await self._check_joined(requester, room_id)
        event = await self._event(room_id, event_id)
        if thread_id is not None and not _is_in_thread(event, thread_id):
            raise InvalidParam("The event is not part of that thread.")
        await self._store(requester.user_id, room_id, {receipt_type: event}, thread_id)

    async def mark(self, requester: Requester, room_id: str, markers: Mapping[str, str]) -> None:
        """Several types at once, each with its event. Raises as `send`; then none is stored."""
        await self._check_joined(requester, room_id)
        events = {name: await self._event(room_id, event_id) for name, event_id in markers.items()}
        await self._store(requester.user_id, room_id, events, None)

    async def _check_joined(self, requester: Requester, room_id: str) -> None:
        membership = (await self._user_rooms.of_user(requester.user_id)).get(room_id)
        if membership is None or membership.membership != "join":
            raise NotAllowed("You are not in this room.")

    async def _event(self, room_id: str, event_id: str) -> StoredEvent:
        event = await self._events.find(event_id)
        # "The event MUST belong to the room."
        if event is None or event.event.room_id != room_id or not event.is_visible or event.flags & OUTLIER:
            raise NotFound("There is no such event in this room.")
        return event

    async def _store(
        self, user_id: str, room_id: str, events: Mapping[str, StoredEvent], thread_id: str | None
    ) -> None:
        def read(tx: Transaction) -> tuple[list[ReceiptRow], bytes | None]:
            receipts = self._repositories.receipts.get_of_user(tx, user_id, (room_id,))
            marker = self._repositories.account_data.find(tx, user_id, room_id, FULLY_READ)
            return receipts, None if marker is None else marker.content

        receipts, marker = await self._database.read(read)
        reached = {row.type: row.ordering for row in receipts if row.thread_id == thread_id}
        if FULLY_READ in events:
            reached[FULLY_READ] = await self._marked(marker)
        changes = [
            self._change(user_id, room_id, name, event, thread_id)
            for name, event in events.items()
            if event.ordering > reached.get(name, -1)
        ]
        if changes:
            await self._committer.commit(*changes)

    async def _marked(self, content: bytes | None) -> int:
        marked: Any = None if content is None else orjson.loads(content).get("event_id")
        event = await self._events.find(marked) if isinstance(marked, str) else None
        return -1 if event is None else event.ordering

    def _change(
        self, user_id: str, room_id: str, name: str, event: StoredEvent, thread_id: str | None
    ) -> Change:
        event_id = event.event.event_id
        if name == FULLY_READ:
            return SetAccountData(user_id, room_id, FULLY_READ, encode_canonical({"event_id": event_id}))
        return StoreReceipt(
            room_id, user_id, name, thread_id, event_id, event.ordering, self._platform.now_ms()
        )


def _check_thread_id(receipt_type: str, thread_id: str) -> None:
    if not thread_id:
        raise InvalidParam("'thread_id' must not be empty.")
    # "It is provided for an incompatible receipt type."
    if receipt_type == FULLY_READ:
        raise InvalidParam(f"{FULLY_READ} takes no 'thread_id'.")


def _is_in_thread(event: StoredEvent, thread_id: str) -> bool:
    # "Thread roots are considered to be in the main timeline, as are events that are related to a thread root via
    # non-thread relations." A receipt on a root within its own thread says that nothing in the thread was read yet.
    if thread_id == MAIN_THREAD:
        return event.thread is None
    return thread_id in (event.thread, event.event.event_id)
