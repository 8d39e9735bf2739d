"""The sender: follows the log, and puts what concerns other servers into their queues.

Its cursor in the database stays behind everything that is only in memory. After a crash some is sent twice, which does
no harm: PDUs are known by their event IDs, messages to devices by their message IDs, device lists by their stream IDs.
"""

import logging
from collections.abc import Sequence
from typing import Final

from twisted.python.failure import Failure

from federation.room_dag.identifiers import domain_of
from federation.rooms.event_store import EventStore
from federation.sending.deliveries import Deliveries
from federation.sending.destination_queue import Clock, QueuedEvent, Timer
from federation.sending.device_changes import DeviceChanges
from federation.sending.ephemeral import EphemeralEdus, SharingServers
from federation.sending.newcomer_heads import NewcomerHeads
from federation.sending.place import SenderPlace
from federation.sending.presence_newcomers import PresenceNewcomers
from federation.sending.presence_renewal import PresenceRenewal
from federation.sending.receipt_pace import ReceiptPace
from federation.sending.room_servers import RoomServers
from storage.change import LogEntry
from storage.committer import CommitFailed, Committer
from storage.database import Database, Waiter, start
from storage.destinations import DestinationBack
from storage.device_keys import SetDeviceKeys
from storage.device_list_updates import DeviceUpdate
from storage.duties import SaveProgress
from storage.engines.engine import StorageError
from storage.events import StoreEvent
from storage.forwarded_events import ForwardEvent
from storage.log import Log, LogRepository
from storage.receipts import StoreReceipt
from storage.sender_epoch import SenderReplaced
from storage.to_device_remote import SendToRemoteDevices
from storage.typing_notices import TypingChanged
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

BATCH: Final = 500
SAVE_AFTER_S: Final = 10.0
RETRY_S: Final = 5.0
RENEW_TYPING_S: Final = 30.0
"""Servers are known to stop showing after a minute that somebody types, if they do not hear it again."""
MEMBER: Final = "m.room.member"
_KINDS: Final = {StoreEvent.kind, ForwardEvent.kind, SendToRemoteDevices.kind, DestinationBack.kind}
"""Entries of which something goes out, beside those of devices and what passes."""


@dataclass(frozen=True, slots=True)
class SenderSources:
    """Where the sender reads."""

    log: Log
    database: Database
    committer: Committer
    clock: Clock
    events: EventStore
    servers: RoomServers
    sharing: SharingServers
    ephemeral: EphemeralEdus
    receipts: ReceiptPace
    presence: PresenceRenewal | None
    """None if it is not tracked."""
    heads: NewcomerHeads
    newcomers: PresenceNewcomers | None
    """None if presence is not tracked."""
    devices: DeviceChanges
    entries: LogRepository
    place: SenderPlace


class Position:
    """How far the sender has come."""

    def __init__(self) -> None:
        self.value = 0

    def __call__(self) -> int:
        return self.value


class Sender:
    """An organisation's part, with `start` and `stop`."""

    def __init__(
        self, server_name: str, sources: SenderSources, deliveries: Deliveries, position: Position
    ) -> None:
        self._server_name = server_name
        self._sources = sources
        self._deliveries = deliveries
        self._position = position
        self._begun = False
        self._running = False
        self._stopping = False
        self._timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._renewal: Timer | None = None
        self._saved = 0
        self._is_saving = False
        self._news_at = 0
        """The last entry of the log that is a reason to write the place down."""
        self._began_at = 0
        self._at_rest: list[Waiter[None]] = []

    def start(self) -> None:
        self._position.value = self._saved = self._began_at = self._sources.log.position
        self._sources.log.follow(self._hear)
        if self._sources.presence is not None:
            self._sources.presence.start()
        self._schedule(0)

    async def stop(self) -> None:
        """Break off what is under way, and remember where the sender is."""
        self._stopping = True
        self._sources.log.unfollow(self._hear)
        self._sources.receipts.stop()
        if self._sources.presence is not None:
            self._sources.presence.stop()
        for timer in (self._timer, self._save_timer, self._renewal):
            if timer is not None and timer.active():
                timer.cancel()
        if self._running:
            waiter: Waiter[None] = Waiter()
            self._at_rest.append(waiter)
            await waiter
        await self._deliveries.stop()
        if self._begun:
            try:
                await self._save()
            except SenderReplaced:
                logger.info("Another federation sender has taken over: it goes on from its own place")

    def _hear(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry.change, StoreEvent) and self._is_ours(entry.change.sender):
                # Who is in the room now, not when the entry's turn comes: who joins later gets nothing of before.
                self._sources.servers.warm(entry.change.room_id)
        if self._running or self._timer is not None or self._stopping:
            return
        is_next = self._begun and entries[0].position == self._position.value + 1
        if is_next and not any(map(self._concerns, entries)):
            self._passed(entries)
            self._save_when_due()
        else:
            # Not from within the log: its other followers, and whoever wrote, come first.
            self._schedule(0)

    def _concerns(self, entry: LogEntry) -> bool:
        return (
            entry.kind in _KINDS
            or self._sources.devices.concerns(entry)
            or self._sources.ephemeral.concerns(entry)
        )

    def _passed(self, entries: Sequence[LogEntry]) -> None:
        self._position.value = entries[-1].position
        # What was written down of the place itself is none.
        news = [entry.position for entry in entries if entry.kind != SaveProgress.kind]
        self._news_at = news[-1] if news else self._news_at

    def _save_when_due(self) -> None:
        is_idle = self._save_timer is None and not self._is_saving and not self._stopping
        if is_idle and self._news_at > self._saved and self._reached() > self._saved:
            self._save_timer = self._sources.clock.callLater(SAVE_AFTER_S, self._save_now)

    def _schedule(self, delay_s: float) -> None:
        self._timer = self._sources.clock.callLater(delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._running = True
        start(self._run(), self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(SenderReplaced):
            logger.error("Another federation sender has taken over: this one stops")
            self._stopping = True
            self._rest()
            return
        logger.error("The federation sender tries again in %.0f s: %s", RETRY_S, failure)
        if not self._stopping:
            self._schedule(RETRY_S)
        self._rest()

    async def _run(self) -> None:
        if not self._begun:
            await self._load()
            await self._deliveries.begin()
            self._begun = True
        await self._deliveries.flush()
        while not self._stopping and self._position.value < self._sources.log.position:
            for entry in await self._read():
                await self._take(entry)
                self._passed((entry,))
            await self._deliveries.flush()
        self._save_when_due()
        self._rest()

    def _rest(self) -> None:
        self._running = False
        resting, self._at_rest = self._at_rest, []
        for waiter in resting:
            waiter.succeed(None)

    async def _load(self) -> None:
        place = self._sources.place
        position = await place.find()
        if position is None:
            # The very first time: nothing before this was for anybody else. Written down at once.
            await self._sources.committer.commit(*place.moves(self._position.value))
        else:
            self._position.value = self._saved = position

    async def _read(self) -> Sequence[LogEntry]:
        after = self._position.value
        entries = self._sources.log.since(after)
        if entries is not None:
            return entries[:BATCH]
        return await self._sources.database.read(
            lambda tx: self._sources.entries.read_after(tx, after, BATCH)
        )

    async def _take(self, entry: LogEntry) -> None:
        try:
            await self._dispatch(entry)
        except (CommitFailed, StorageError):
            raise
        except Exception:
            # The loop at the very top: one entry that cannot be handled must not hold up those behind it.
            logger.exception("The federation sender passes over entry %d of the log", entry.position)

    async def _dispatch(self, entry: LogEntry) -> None:
        match entry.kind:
            case StoreEvent.kind:
                await self._event(entry)
            case ForwardEvent.kind:
                await self._forwarded(*entry.key)
            case SendToRemoteDevices.kind:
                for destination in entry.key:
                    self._deliveries.add_messages(destination)
            case DestinationBack.kind:
                self._deliveries.wake(entry.key[0])
        if self._sources.devices.concerns(entry):
            await self._devices(entry)
        # Who typed before this sender began may have stopped long ago.
        is_past = entry.kind == TypingChanged.kind and entry.position <= self._began_at
        if self._sources.ephemeral.concerns(entry) and not is_past:
            await self._pass_on(entry)

    # What passes

    async def _pass_on(self, entry: LogEntry) -> None:
        for outgoing in await self._sources.ephemeral.make(entry):
            self._deliveries.add_passing(outgoing.destinations, outgoing.passing)
            is_receipt = entry.kind == StoreReceipt.kind
            if not is_receipt or self._sources.receipts.may_go(entry.key[0], outgoing.destinations):
                self._deliveries.send_now(outgoing.destinations)
        self._watch_typing()

    def _watch_typing(self) -> None:
        if self._renewal is None and self._sources.ephemeral.is_anybody_typing and not self._stopping:
            self._renewal = self._sources.clock.callLater(RENEW_TYPING_S, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        if not self._stopping:
            start(
                self._renew_typing(),
                lambda failure: logger.error("Others were not told who still types: %s", failure.value),
            )

    async def _renew_typing(self) -> None:
        for outgoing in await self._sources.ephemeral.make_renewals():
            self._deliveries.add_passing(outgoing.destinations, outgoing.passing)
            self._deliveries.send_now(outgoing.destinations)
        self._watch_typing()

    # Events

    async def _event(self, entry: LogEntry) -> None:
        if not isinstance(entry.change, StoreEvent):
            await self._stored_event(entry)
            return
        change, servers = entry.change, self._sources.servers
        if change.flags or change.ordering is not None or not self._is_ours(change.sender):
            servers.note(change)
            for destination, head in await self._sources.heads.find(change, entry.position):
                self._deliveries.add_event(head, (destination,), ())
            await self._introduce(change)
            return
        leaving = {*await servers.apply(change)}
        staying = await servers.get(change.room_id)
        if change.type == MEMBER and change.state_key is not None:
            # Who is kicked, or whose invite is taken back, is told, whether the server is in the room or not.
            leaving |= {domain_of(change.state_key)} - set(staying)
        event = QueuedEvent(entry.position, change.room_id, change.event_id)
        self._deliveries.add_event(event, staying, leaving)
        await self._introduce(change)

    async def _introduce(self, change: StoreEvent) -> None:
        """Whoever comes into a room learns who is online there, and the others whether he is."""
        if self._sources.newcomers is None or not change.memberships:
            return
        outgoing = await self._sources.newcomers.make(change)
        for one in outgoing:
            self._deliveries.add_passing(one.destinations, one.passing)
        # All of them in one EDU.
        for one in outgoing:
            self._deliveries.send_now(one.destinations)

    async def _stored_event(self, entry: LogEntry) -> None:
        """An event that was committed before a restart, or by another replica."""
        room_id, event_id = entry.key
        self._sources.servers.forget(room_id)
        stored = await self._sources.events.find(event_id)
        if stored is None or stored.flags or stored.is_found_later or not self._is_ours(stored.event.sender):
            return
        staying = await self._sources.servers.get(room_id)
        leaving: set[str] = set()
        if stored.event.type == MEMBER and stored.event.state_key is not None:
            leaving = {domain_of(stored.event.state_key)} - set(staying)
        self._deliveries.add_event(QueuedEvent(entry.position, room_id, event_id), staying, leaving)

    async def _forwarded(self, room_id: str, event_id: str) -> None:
        stored = await self._sources.events.find(event_id)
        if stored is None or stored.flags:
            return
        staying = set(await self._sources.servers.get(room_id)) - {domain_of(stored.event.sender)}
        self._deliveries.add_event(QueuedEvent(stored.position, room_id, event_id), staying, ())

    def _is_ours(self, user_id: str) -> bool:
        return domain_of(user_id) == self._server_name

    # Devices

    async def _devices(self, entry: LogEntry) -> None:
        changes = await self._sources.devices.find(entry)
        if not changes:
            return
        is_noted = isinstance(entry.change, SetDeviceKeys) and entry.change.is_noted
        if is_noted and not await self._sources.sharing.of_user(entry.key[0]) - {self._server_name}:
            # Nobody is to be told, and there is nothing to be written.
            return
        committed = await self._sources.committer.commit(*changes)
        destinations = await self._sources.sharing.of_user(entry.key[0])
        for change, previous in zip(changes, committed.results, strict=True):
            assert previous is None or isinstance(previous, int)
            update = DeviceUpdate(
                change.user_id, change.device_id, change.position, previous, change.stream_id
            )
            self._deliveries.add_device(destinations, update)

    # The cursor

    def _reached(self) -> int:
        oldest = self._deliveries.find_oldest()
        return self._position.value if oldest is None else min(self._position.value, oldest - 1)

    def _save_now(self) -> None:
        self._save_timer = None
        start(
            self._save(), lambda failure: logger.error("The sender's place was not saved: %s", failure.value)
        )

    async def _save(self) -> None:
        reached = self._reached()
        if reached > self._saved:
            self._is_saving = True
            try:
                # What was to be written down and could not be may be from before that.
                await self._deliveries.flush()
                # Not past what the sender that took over has done.
                await self._deliveries.commit(*self._sources.place.moves(reached))
            finally:
                self._is_saving = False
            self._saved = reached
            # What came meanwhile.
            self._save_when_due()
