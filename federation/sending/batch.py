"""Puts together what one transaction carries: read when it is sent."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.sending.destination_queue import DestinationQueue, QueuedEvent
from federation.sending.edus import device_list_edu, signing_key_edu, to_device_edu
from federation.sending.own_devices import OwnDevices, OwnUser
from federation.sending.room_servers import RoomServers
from storage.database import Database, Transaction
from storage.events import ORDERING_STEP, EventsRepository
from storage.sending import CROSS_SIGNING, DeviceUpdate, RoomBehind, SendingRepository, WaitingMessage

# A transaction carries "a maximum of 50 PDUs" and "a maximum of 100 EDUs".
MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
MAX_MESSAGES: Final = 50
"""Messages to devices go into every transaction that has any, first, and leave room for others."""
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


class Batches:
    """Reads events, messages and keys for transactions."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        events: EventStore,
        repository: SendingRepository,
        servers: RoomServers,
        own_devices: OwnDevices,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._events = events
        self._repository = repository
        self._servers = servers
        self._own_devices = own_devices
        self._event_rows = EventsRepository()

    async def make(self, queue: DestinationQueue, upto: int) -> Batch:
        """Take the next things from a queue; events stay in it until they are acknowledged.

        For a destination that is behind, the latest of its rooms up to a position instead of the queue's events.
        """
        batch = Batch()
        if queue.is_behind:
            await self._add_latest(batch, queue.destination, upto)
        else:
            await self._add_events(
                batch, [queue.events[at] for at in range(min(len(queue.events), MAX_PDUS))]
            )
        await self._add_messages(batch, queue)
        await self._add_devices(batch, queue)
        while queue.ephemeral and len(batch.edus) < MAX_EDUS:
            batch.edus.append(queue.ephemeral.popitem(last=False)[1])
        return batch

    async def _add_events(self, batch: Batch, queued: Sequence[QueuedEvent]) -> None:
        stored = await self._events.get_many(one.event_id for one in queued)
        batch.events = frozenset(queued)
        batch.pdus += [stored[one.event_id].event.json for one in queued if one.event_id in stored]

    async def _add_latest(self, batch: Batch, destination: str, upto: int) -> None:
        rooms = await self._database.read(
            lambda tx: self._repository.get_rooms_behind(tx, destination, MAX_PDUS)
        )
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

    async def _add_messages(self, batch: Batch, queue: DestinationQueue) -> None:
        if not queue.has_messages:
            return
        # Whoever adds one meanwhile says so again.
        queue.has_messages = False
        messages: list[WaitingMessage] = await self._database.read(
            lambda tx: self._repository.get_messages(tx, queue.destination, MAX_MESSAGES + 1)
        )
        if len(messages) > MAX_MESSAGES:
            queue.has_messages = True
        taken = messages[:MAX_MESSAGES]
        batch.edus += [to_device_edu(message) for message in taken]
        batch.messages = tuple((message.position, message.number) for message in taken)

    async def _add_devices(self, batch: Batch, queue: DestinationQueue) -> None:
        taken = list(queue.devices)[: MAX_EDUS - len(batch.edus)]
        if not taken:
            return
        for device in taken:
            del queue.devices[device]
        users = {user_id for user_id, _ in taken}
        updates, known = await self._database.read(lambda tx: self._read_devices(tx, users))
        wanted = sorted(
            (update for update in updates if (update.user_id, update.device_id) in set(taken)),
            key=lambda update: update.position,
        )
        for update in wanted:
            edu = _device_edu(update, known.get(update.user_id))
            if edu is not None:
                batch.edus.append(edu)

    def _read_devices(
        self, tx: Transaction, user_ids: Collection[str]
    ) -> tuple[Sequence[DeviceUpdate], dict[str, OwnUser]]:
        return self._repository.get_device_updates(tx, user_ids), dict(self._own_devices.read(tx, user_ids))


def _device_edu(update: DeviceUpdate, user: OwnUser | None) -> bytes | None:
    if update.device_id != CROSS_SIGNING:
        device = None if user is None else user.devices.get(update.device_id)
        return device_list_edu(update.user_id, update.device_id, update.position, update.previous, device)
    if user is None or user.signing.master is None:
        return None
    return signing_key_edu(update.user_id, user.signing)
