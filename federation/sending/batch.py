"""Puts together what one transaction carries: read when it is sent."""

from collections.abc import Collection, Sequence
from dataclasses import field
from typing import Final

import orjson

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.sending.destination_queue import DestinationQueue, QueuedEvent, TypingEdu
from federation.sending.edus import (
    device_list_edu,
    presence_edu,
    receipt_edus,
    signing_key_edu,
    to_device_edu,
)
from federation.sending.own_devices import OwnDevices, OwnUser
from federation.sending.room_servers import RoomServers
from storage.database import Database, Transaction
from storage.destinations_behind import DestinationsBehindRepository, RoomBehind
from storage.device_list_updates import CROSS_SIGNING, DeviceListUpdatesRepository, DeviceUpdate
from storage.event_rows import EventsRepository
from storage.events import ORDERING_STEP
from storage.presence import SetPresence
from storage.receipts import StoreReceipt
from storage.to_device_remote import ToDeviceRemoteRepository, WaitingMessage
from synapse_like_config.lazy_dataclasses import dataclass

# A transaction carries "a maximum of 50 PDUs" and "a maximum of 100 EDUs".
MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
MAX_MESSAGES: Final = 50
"""Messages to devices go into every transaction that has any, and leave room for others."""
MAX_DEVICES: Final = 40
EVENTS_LOOKED_AT: Final = 200
"""Of a room, from its newest event backwards, for one of this server."""


@dataclass(slots=True)
class Batch:
    """The contents of one transaction, and what is done with once it was acknowledged."""

    pdus: list[bytes] = field(default_factory=list)
    edus: list[bytes] = field(default_factory=list)
    events: frozenset[QueuedEvent] = frozenset()
    """Those of the queue that it answers for."""
    rooms: tuple[RoomBehind, ...] = ()
    messages: tuple[tuple[int, int], ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.pdus or self.edus)

    @property
    def is_one_thing(self) -> bool:
        return len(self.pdus) + len(self.edus) == 1


class Batches:
    """Reads events, messages and keys for transactions."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        events: EventStore,
        servers: RoomServers,
        own_devices: OwnDevices,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._events = events
        self._behind = DestinationsBehindRepository()
        self._messages = ToDeviceRemoteRepository()
        self._updates = DeviceListUpdatesRepository()
        self._servers = servers
        self._own_devices = own_devices
        self._event_rows = EventsRepository()

    async def make(self, queue: DestinationQueue, upto: int, now_ms: int) -> Batch:
        """Take the next things from a queue; events stay in it until they are acknowledged.

        For a destination that is behind, the latest of its rooms up to a position instead of the queue's events.
        """
        batch = Batch()
        pdus, edus = (queue.limit, queue.limit) if queue.is_careful else (MAX_PDUS, MAX_EDUS)
        if queue.is_behind:
            await self._add_latest(batch, queue.destination, upto, pdus)
        else:
            await self._add_events(batch, queue.events[:pdus])
        if queue.is_careful and (batch.pdus or batch.rooms or batch.events):
            # What was refused is to be found.
            return batch
        # New keys before the messages that were encrypted with them.
        await self._add_devices(batch, queue, min(edus, MAX_DEVICES))
        await self._add_messages(batch, queue, min(edus - len(batch.edus), MAX_MESSAGES))
        _add_passing(batch, queue, edus - len(batch.edus), now_ms)
        return batch

    async def _add_events(self, batch: Batch, queued: Sequence[QueuedEvent]) -> None:
        stored = await self._events.get_many(one.event_id for one in queued)
        batch.events = frozenset(queued)
        batch.pdus += [stored[one.event_id].event.json for one in queued if one.event_id in stored]

    async def _add_latest(self, batch: Batch, destination: str, upto: int, limit: int) -> None:
        rooms = await self._database.read(lambda tx: self._behind.get_rooms_behind(tx, destination, limit))
        wanted = []
        for room in rooms:
            # One that left by itself in the meantime is not told what came after.
            if room.newest is not None or destination in await self._servers.get(room.room_id):
                wanted.append(room)
        batch.rooms = tuple(rooms)
        if wanted:
            found = await self._database.read(
                lambda tx: [self._find_latest(tx, room, upto) for room in wanted]
            )
            await self._add_events(batch, [event for event in found if event is not None])
            batch.events = frozenset()

    def _find_latest(self, tx: Transaction, room: RoomBehind, upto: int) -> QueuedEvent | None:
        """The newest event of this server that the destination may see, or else the first one that it missed."""
        if room.newest is None:
            after, highest = (room.oldest - 1) * ORDERING_STEP, max(upto, room.marked) * ORDERING_STEP
            for row in self._event_rows.get_backward(tx, room.room_id, after, highest, EVENTS_LOOKED_AT):
                if self._is_ours(row.json):
                    return QueuedEvent(row.nid, row.room_id, row.event_id)
        wanted = room.oldest if room.newest is None else room.newest
        for row in self._event_rows.get_by_nid(tx, (wanted,)):
            return QueuedEvent(row.nid, row.room_id, row.event_id)
        return None

    def _is_ours(self, json: bytes) -> bool:
        sender: str = orjson.loads(json)["sender"]
        return domain_of(sender) == self._server_name

    async def _add_messages(self, batch: Batch, queue: DestinationQueue, limit: int) -> None:
        if not queue.has_messages or limit < 1:
            return
        # Whoever adds one meanwhile says so again.
        queue.has_messages = False
        messages: list[WaitingMessage] = await self._database.read(
            lambda tx: self._messages.get_messages(tx, queue.destination, limit + 1)
        )
        if len(messages) > limit:
            queue.has_messages = True
        taken = messages[:limit]
        batch.edus += [to_device_edu(message) for message in taken]
        batch.messages = tuple((message.position, message.number) for message in taken)

    async def _add_devices(self, batch: Batch, queue: DestinationQueue, limit: int) -> None:
        taken = list(queue.devices)[:limit]
        if not taken:
            return
        for device in taken:
            del queue.devices[device]
        users = {user_id for user_id, _ in taken}
        heads = {user_id: queue.heads.pop(user_id) for user_id in users if user_id in queue.heads}
        updates, known = await self._database.read(lambda tx: self._read_devices(tx, users))
        chosen = set(taken)
        for update in sorted(updates, key=lambda update: update.stream_id):
            if (update.user_id, update.device_id) not in chosen:
                continue
            edu = _device_edu(update, heads.get(update.user_id, update.previous), known.get(update.user_id))
            if edu is not None:
                batch.edus.append(edu)
            if update.device_id != CROSS_SIGNING:
                # What lies between is not told, as something newer is told of the same device.
                heads[update.user_id] = update.stream_id
        for user_id, device_id in queue.devices:
            if user_id in heads and device_id != CROSS_SIGNING:
                queue.heads[user_id] = heads[user_id]

    def _read_devices(
        self, tx: Transaction, user_ids: Collection[str]
    ) -> tuple[Sequence[DeviceUpdate], dict[str, OwnUser]]:
        return self._updates.get_device_updates(tx, user_ids), dict(self._own_devices.read(tx, user_ids))


def _device_edu(update: DeviceUpdate, previous: int | None, user: OwnUser | None) -> bytes | None:
    if update.device_id != CROSS_SIGNING:
        device = None if user is None else user.devices.get(update.device_id)
        return device_list_edu(update.user_id, update.device_id, update.stream_id, previous, device)
    if user is None or user.signing.master is None:
        return None
    return signing_key_edu(update.user_id, user.signing)


def _add_passing(batch: Batch, queue: DestinationQueue, limit: int, now_ms: int) -> None:
    """The oldest first. One EDU holds many receipts, or many users' presence."""
    taken = list(queue.passing.values())[: max(0, limit)]
    for passing in taken:
        del queue.passing[passing.key]
    news = [passing.news for passing in taken]
    batch.edus += [one.json for one in news if isinstance(one, TypingEdu)]
    batch.edus += receipt_edus(one for one in news if isinstance(one, StoreReceipt))
    presences = [one for one in news if isinstance(one, SetPresence)]
    if presences:
        batch.edus.append(presence_edu(presences, now_ms))
