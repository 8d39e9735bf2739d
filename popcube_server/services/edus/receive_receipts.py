"""m.receipt: how far users of another server have read. Source: server-server API, "Receipts"."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from federation.rooms.event_store import EventStore
from popcube_server.services.edus.edu_content import MAX_ID_BYTES, BadEdu, check_user_of
from popcube_server.services.edus.edu_rooms import EduRooms
from storage.committer import Committer
from storage.events import OUTLIER
from storage.receipts import MAIN_THREAD, PUBLIC, StoreReceipt
from synapse_like_config.lazy_dataclasses import dataclass

MAX_RECEIPTS: Final = 1_000
"""In one EDU: those behind are dropped."""
MAX_TS: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class _Receipt:
    room_id: str
    user_id: str
    event_id: str
    thread_id: str | None
    ts: int


class ReceiveReceipts:
    def __init__(self, rooms: EduRooms, events: EventStore, committer: Committer) -> None:
        self._rooms = rooms
        self._events = events
        self._committer = committer

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        receipts = list(_receipts(origin, content))
        events = await self._events.get_many({receipt.event_id for receipt in receipts})
        changes = []
        for receipt in receipts:
            stored = events.get(receipt.event_id)
            # "The event MUST belong to the room." One that is not known here yet has no place in the timeline.
            if stored is None or stored.event.room_id != receipt.room_id or stored.flags & OUTLIER:
                continue
            # A thread that the event has nothing to do with is made up: there is no end of such names.
            if receipt.thread_id not in (None, MAIN_THREAD, stored.thread, receipt.event_id):
                continue
            # ACLs: "receipts [...] for rooms from which a server is banned are to be ignored".
            if stored.is_visible and await self._rooms.may_tell(origin, receipt.user_id, receipt.room_id):
                changes.append(
                    StoreReceipt(
                        receipt.room_id,
                        receipt.user_id,
                        PUBLIC,
                        receipt.thread_id,
                        receipt.event_id,
                        stored.ordering,
                        receipt.ts,
                    )
                )
        if changes:
            await self._committer.commit(*changes)


def _receipts(origin: str, content: Mapping[str, Any]) -> Iterator[_Receipt]:
    count = 0
    for room_id, of_room in content.items():
        # "Only m.read receipts": others are private, or not known.
        read = of_room.get(PUBLIC) if isinstance(of_room, dict) else None
        for user_id, receipt in read.items() if isinstance(read, dict) else ():
            count += 1
            if count > MAX_RECEIPTS:
                return
            yield _receipt(room_id, check_user_of(origin, user_id), receipt)


def _receipt(room_id: str, user_id: str, receipt: Any) -> _Receipt:
    event_ids = receipt.get("event_ids") if isinstance(receipt, dict) else None
    data = receipt.get("data") if isinstance(receipt, dict) else None
    if not isinstance(event_ids, list) or not event_ids or not isinstance(event_ids[0], str):
        raise BadEdu("'event_ids' must be a list of event IDs")
    ts = data.get("ts") if isinstance(data, dict) else None
    if not isinstance(ts, int) or isinstance(ts, bool) or not 0 <= ts <= MAX_TS:
        raise BadEdu("'ts' must be a time in milliseconds")
    thread_id = data.get("thread_id") if isinstance(data, dict) else None
    if thread_id is not None and (
        not isinstance(thread_id, str) or not 0 < len(thread_id) <= MAX_ID_BYTES or "\0" in thread_id
    ):
        raise BadEdu("'thread_id' must be an event ID or 'main'")
    return _Receipt(room_id, user_id, event_ids[0], thread_id, ts)
