"""The queues of all destinations, and the one transaction that each may have under way.

A destination without anything to send has no queue, and neither has one that does not answer: it is parked, and what it
misses is in the database. So memory is bounded by how many destinations are active, not by what others miss.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from federation.sending.batch import MAX_PDUS, Batch, Batches
from federation.sending.destination_queue import (
    Clock,
    DestinationQueue,
    Passing,
    QueuedEvent,
    QueueLimits,
    State,
)
from federation.sending.edus import transaction_body
from federation.sending.inherited import Inherited
from federation.sending.missed import Missed
from federation.sending.parked import Parked
from federation.sending.refusals import Refusals, is_final, is_poison
from federation.sending.room_servers import RoomServers
from federation.sending.sending_duty import ALONE, SendingDuty
from federation.transport.errors import FederationError, NotFederated, Unreachable
from popcube_server.lazy_dataclasses import dataclass
from storage.change import Change
from storage.committer import CommitFailed, Committed, Committer
from storage.database import Database, Waiter, start
from storage.destinations import FailingDestination
from storage.sending import (
    CaughtUp,
    DeviceUpdate,
    FallBehind,
    ForgetDestination,
    HoldDuty,
    Lag,
    PauseSending,
    RefusedLatest,
    RemoteDelivered,
    RoomBehind,
    SenderReplaced,
    SendingRepository,
    SentLatest,
    TakeOver,
)

logger = logging.getLogger(__name__)

MAX_AT_ONCE: Final = 200
"""Transactions under way, to all destinations together. Fewer than the requests that there may be: servers that answer
slowly, which somebody hostile can have any number of, must not keep joins and keys waiting.
"""
PAUSE_S: Final = 60.0
"""After errors of this server's own."""
MIN_PAUSE_MS: Final = 1_000
MAX_REFUSED: Final = 5
"""How often the latest event of a room may be answered with an error when it is sent alone."""


class SendTransaction(Protocol):
    """Reaches other servers."""

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Any]:
        """The answer. Raises `FederationError`."""


class Pauses(Protocol):
    """Knows who does not answer (`BackOff`)."""

    async def find(self, destination: str) -> FailingDestination | None: ...


@dataclass(frozen=True, slots=True)
class SendingTools:
    """What deliveries use of others."""

    transactions: SendTransaction
    pauses: Pauses
    database: Database
    committer: Committer
    clock: Clock
    repository: SendingRepository
    servers: RoomServers
    missed: Missed
    batches: Batches
    refusals: Refusals
    limits: QueueLimits


class Deliveries:
    """Owns the queues. Its owner adds to them in the order of the log."""

    def __init__(
        self,
        server_name: str,
        tools: SendingTools,
        position: Callable[[], int],
        duty: SendingDuty = ALONE,
    ) -> None:
        self._server_name = server_name
        self._tools = tools
        self._position = position
        self._duty = duty
        self._inherited = Inherited(server_name, tools.database, tools.servers, duty)
        self._queues: dict[str, DestinationQueue] = {}
        self._lags: dict[str, Lag] = {}
        """Of destinations that are catching up: as it was when that began."""
        self._marks: dict[str, list[RoomBehind]] = {}
        self._under_way: dict[str, Deferred[Mapping[str, Any]]] = {}
        self._parked = Parked(tools.clock, self._come_back)
        self._ready: deque[DestinationQueue] = deque()
        """Those that wait until fewer transactions are under way."""
        self._at_work = 0
        self._held = 0
        """Events in all queues, counted anew with each batch of the log."""
        self._epoch = 0
        self._sent = 0
        self._running = 0
        self._stopping = False
        self._at_rest: list[Waiter[None]] = []

    def __len__(self) -> int:
        """How many queues there are."""
        return len(self._queues)

    @property
    def parked_count(self) -> int:
        """How many destinations are not sent to at the moment."""
        return len(self._parked)

    def state_of(self, destination: str) -> State:
        if destination in self._parked:
            return State.BACKING_OFF
        queue = self._queues.get(destination)
        return State.IDLE if queue is None else queue.state

    def find_oldest(self) -> int | None:
        """The oldest position that some queue still holds in memory only."""
        positions = (queue.find_oldest() for queue in self._queues.values())
        return min((position for position in positions if position is not None), default=None)

    async def begin(self) -> None:
        """Take over from whoever sent before, and go on with what was left."""
        committed = await self._tools.committer.commit(TakeOver())
        (epoch,) = committed.results
        assert isinstance(epoch, int)
        self._epoch = epoch
        inherited = await self._inherited.find(self._position())
        if inherited:
            await self.commit(*inherited)
        repository = self._tools.repository
        lagging, waiting = await self._tools.database.read(
            lambda tx: (repository.get_lagging(tx), repository.get_with_messages(tx))
        )
        now_ms = self._now_ms()
        for one in lagging:
            self._parked.park(one.destination, max(0, one.retry_at_ms - now_ms) / 1000)
        for destination in waiting:
            self.add_messages(destination)

    async def stop(self) -> None:
        """Break off the transactions under way: they are sent again after the next start."""
        self._stopping = True
        self._parked.stop()
        for sending in tuple(self._under_way.values()):
            sending.cancel()
        for queue in self._queues.values():
            if queue.timer is not None and queue.timer.active():
                queue.timer.cancel()
        if self._running:
            waiter: Waiter[None] = Waiter()
            self._at_rest.append(waiter)
            await waiter
        for queue in self._queues.values():
            queue.state = State.STOPPED

    # What there is to send

    def add_event(self, event: QueuedEvent, staying: Collection[str], leaving: Collection[str]) -> None:
        """For the servers in the room after it, and for those who get nothing after this: no server is in both.

        `flush` when a batch of the log is through.
        """
        for destination in self._parked.untold(event.room_id, staying):
            if destination in self._parked:
                self._mark(destination, event, None)
                self._parked.tell(event.room_id, destination)
            elif destination != self._server_name:
                self._add_event(destination, event)
        for destination in leaving:
            if destination in self._parked:
                self._mark(destination, event, event.position)
                self._parked.has_left(event.room_id, destination)
            elif destination != self._server_name:
                self._add_event(destination, event)

    def _add_event(self, destination: str, event: QueuedEvent) -> None:
        queue = self._queue(destination)
        queue.events.append(event)
        self._held += 1
        if self._is_full(queue):
            self._spill(queue)
        self._wake(queue)

    def add_passing(self, destinations: Collection[str], passing: Passing) -> None:
        """Goes with the next transaction; `send_now` makes one. Who is parked is told later how it is then."""
        for destination in self._parked.without(destinations):
            self._queue(destination).add_passing(passing)

    def send_now(self, destinations: Collection[str]) -> None:
        """Send what waits."""
        for destination in destinations:
            queue = self._queues.get(destination)
            if queue is not None:
                self._wake(queue)

    def add_device(self, destinations: Collection[str], update: DeviceUpdate) -> None:
        """A device changed. Who is parked finds it in the database."""
        for destination in self._parked.without(destinations):
            if destination != self._server_name:
                queue = self._queue(destination)
                queue.add_device(update.user_id, update.device_id, update.position, update.previous)
                if self._is_full(queue):
                    self._spill(queue)
                self._wake(queue)

    def add_messages(self, destination: str) -> None:
        """Messages to devices wait in the database."""
        if destination not in self._parked:
            queue = self._queue(destination)
            queue.has_messages = True
            self._wake(queue)

    def wake(self, destination: str) -> None:
        """A server that did not answer is back."""
        if self._parked.release(destination):
            self._come_back(destination)

    def _come_back(self, destination: str) -> None:
        queue = self._queue(destination)
        queue.is_behind = queue.has_messages = True
        self._wake(queue)

    async def flush(self) -> None:
        """Write down what destinations miss that do not answer. Raises `CommitFailed`."""
        self._held = sum(len(queue.events) for queue in self._queues.values())
        marks, self._marks = self._marks, {}
        if not marks:
            return
        changes = [
            FallBehind(destination, min(room.oldest for room in rooms) - 1, tuple(rooms))
            for destination, rooms in marks.items()
        ]
        try:
            await self.commit(*changes)
        except CommitFailed:
            self._marks = marks
            raise

    # Queues

    def _queue(self, destination: str) -> DestinationQueue:
        queue = self._queues.get(destination)
        if queue is None:
            queue = self._queues[destination] = DestinationQueue(destination)
        return queue

    def _is_full(self, queue: DestinationQueue) -> bool:
        limits = self._tools.limits
        return queue.is_full(limits.one if self._held < limits.together else limits.few)

    def _mark(self, destination: str, event: QueuedEvent, newest: int | None) -> None:
        rooms = self._marks.setdefault(destination, [])
        oldest = event.position
        for at, room in enumerate(rooms):
            if room.room_id == event.room_id:
                oldest = rooms.pop(at).oldest
                break
        rooms.append(RoomBehind(event.room_id, oldest, newest, event.position))

    def _wake(self, queue: DestinationQueue) -> None:
        if queue.state is not State.IDLE or self._stopping:
            return
        queue.state = State.CATCHING_UP if queue.is_behind else State.SENDING
        if self._at_work >= MAX_AT_ONCE:
            self._ready.append(queue)
            return
        self._begin(queue)

    def _begin(self, queue: DestinationQueue) -> None:
        self._at_work += 1
        self._running += 1
        start(self._run(queue), lambda failure: self._crashed(queue, failure))

    def _spill(self, queue: DestinationQueue) -> None:
        """More waits than memory is for: write it down, and bring the destination up to date from there."""
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        waiting, queue.events = tuple(queue.events), []
        queue.devices.clear()
        queue.heads.clear()
        queue.is_behind = True
        self._running += 1
        start(self._write_down(queue, waiting), lambda failure: self._not_written(queue, waiting, failure))

    def _not_written(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent], failure: Failure) -> None:
        self._note(queue, failure)
        if queue.destination in self._parked:
            for event in waiting:
                self._mark(queue.destination, event, None)
        else:
            queue.events[:0] = waiting
        self._ended()

    async def _write_down(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent]) -> None:
        await self._fall_behind(queue, waiting)
        # It may have caught up, and be gone, while this was written; or not answer any more.
        if queue.destination not in self._parked:
            queue = self._queue(queue.destination)
            queue.is_behind = True
            self._wake(queue)
        self._ended()

    async def _fall_behind(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent]) -> None:
        rooms: dict[str, RoomBehind] = {}
        for event in waiting:
            present = queue.destination in await self._tools.servers.get(event.room_id)
            first = rooms.get(event.room_id)
            rooms[event.room_id] = RoomBehind(
                event.room_id,
                event.position if first is None else first.oldest,
                None if present else event.position,
                event.position,
            )
        since = (self._position() if queue.floor is None else queue.floor) - 1
        fallen = FallBehind(queue.destination, since, tuple(rooms.values()))
        await self.commit(fallen, *self._told(queue.destination, since))
        queue.floor = None

    def _told(self, destination: str, since: int | None) -> Sequence[Change]:
        """What the other sites are to know of a destination that is behind, or (None) is not any more."""
        return (self._inherited.note(destination, since),) if self._duty.log else ()

    # One destination at work

    async def _run(self, queue: DestinationQueue) -> None:
        try:
            await self._work_off(queue)
        finally:
            self._at_work -= 1
            while self._ready and self._at_work < MAX_AT_ONCE and not self._stopping:
                self._begin(self._ready.popleft())
        self._ended()

    async def _work_off(self, queue: DestinationQueue) -> None:
        while not self._stopping:
            if queue.is_behind:
                await self._begin_catching_up(queue)
            batch = await self._make(queue)
            if batch.is_empty and not batch.rooms and not batch.events:
                if queue.is_behind:
                    await self._finish_catching_up(queue)
                    continue
                if queue.is_empty:
                    break
                continue
            if not batch.is_empty and not await self._send(queue, batch):
                return
            await self._acknowledge(queue, batch)
        queue.state = State.IDLE
        if queue.is_empty:
            self._queues.pop(queue.destination, None)

    async def _make(self, queue: DestinationQueue) -> Batch:
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        return await self._tools.batches.make(queue, self._position(), self._now_ms())

    async def _send(self, queue: DestinationQueue, batch: Batch) -> bool:
        """Whether it was acknowledged; if not, the queue is backing off."""
        if not self._duty.is_held():
            # Another site may be sending by now. It begins where this one is known to have come.
            return False
        self._sent += 1
        txn_id = self._duty.transaction_id(self._epoch, self._sent)
        body = transaction_body(self._server_name, self._now_ms(), batch.pdus, batch.edus)
        sending = Deferred.fromCoroutine(self._tools.transactions.send(queue.destination, txn_id, body))
        self._under_way[queue.destination] = sending
        try:
            answer = await sending
        except CancelledError:
            # The server stops: the queue's floor sees to it that this is sent again.
            return False
        except NotFederated:
            await self._forget(queue, batch)
            return False
        except FederationError as error:
            logger.info("Not sent: %s", error)
            await self._fail(queue, batch, error)
            return False
        finally:
            del self._under_way[queue.destination]
        _log_refused(queue.destination, answer)
        return True

    async def _acknowledge(self, queue: DestinationQueue, batch: Batch) -> None:
        queue.drop_events(batch.events)
        queue.pause_ms = 0
        queue.limit = min(2 * queue.limit, MAX_PDUS)
        queue.is_careful = queue.is_careful and queue.limit < MAX_PDUS
        changes: list[Change] = []
        if batch.messages:
            changes.append(RemoteDelivered(queue.destination, batch.messages))
        if batch.rooms:
            changes.append(SentLatest(queue.destination, batch.rooms))
        if changes:
            await self.commit(*changes)
        if not queue.is_behind:
            queue.floor = None

    # Failures

    async def _fail(self, queue: DestinationQueue, batch: Batch, error: FederationError) -> None:
        """Write down what it misses, and leave it alone for a while."""
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        queue.is_behind = True
        self._lags.pop(queue.destination, None)
        while True:
            waiting = tuple(queue.events)
            queue.devices.clear()
            queue.heads.clear()
            queue.passing.clear()
            await self._fall_behind(queue, waiting)
            queue.drop_events(waiting)
            if not (queue.events or queue.devices or queue.passing):
                break
            queue.floor = queue.find_oldest()
        row = await self._tools.pauses.find(queue.destination)
        pause_ms = 0 if row is None else row.retry_at_ms - self._now_ms()
        if row is None or not isinstance(error, Unreachable):
            refused_ms = self._tools.refusals.next_pause_ms(queue.pause_ms, error)
            await self._note_refusal(queue, batch, error, refused_ms)
            pause_ms = max(pause_ms, refused_ms)
        self._park(queue, max(pause_ms, MIN_PAUSE_MS))

    async def _note_refusal(
        self, queue: DestinationQueue, batch: Batch, error: FederationError, pause_ms: int
    ) -> None:
        destination = queue.destination
        await self.commit(PauseSending(destination, self._now_ms() + pause_ms, pause_ms))
        if not (is_poison(error) and batch.is_one_thing):
            return
        if batch.messages and is_final(error):
            logger.warning("%s refuses a message to a device, which is dropped: %s", destination, error)
            await self.commit(RemoteDelivered(destination, batch.messages))
        for room in batch.rooms:
            committed = await self.commit(RefusedLatest(destination, room.room_id))
            (times,) = committed.results[:1]
            assert isinstance(times, int)
            if is_final(error) or times >= MAX_REFUSED:
                # The next event of the room will tell it that there was one before.
                logger.warning(
                    "%s refuses an event of %s, it is dropped: %s", destination, room.room_id, error
                )
                await self.commit(SentLatest(destination, (room,)))

    def _park(self, queue: DestinationQueue, delay_ms: int) -> None:
        self._queues.pop(queue.destination, None)
        if not self._stopping:
            self._parked.park(queue.destination, delay_ms / 1000)

    async def _forget(self, queue: DestinationQueue, batch: Batch) -> None:
        """Nothing goes there: not whitelisted, or a name that is this server's."""
        self._queues.pop(queue.destination, None)
        self._lags.pop(queue.destination, None)
        if batch.messages or queue.has_messages or queue.is_behind:
            forgotten = ForgetDestination(queue.destination)
            await self.commit(forgotten, *self._told(queue.destination, None))

    # Catching up

    async def _begin_catching_up(self, queue: DestinationQueue) -> None:
        if queue.destination in self._lags:
            return
        queue.state = State.CATCHING_UP
        destination = queue.destination
        lag = await self._tools.database.read(lambda tx: self._tools.repository.find_lag(tx, destination))
        if lag is None:
            # What could not be written down is missed all the same.
            lag = Lag((self._position() + 1 if queue.floor is None else queue.floor) - 1, 0)
        self._lags[destination] = lag
        queue.pause_ms = lag.pause_ms
        if lag.pause_ms:
            queue.is_careful, queue.limit = True, 1
        for update in await self._tools.missed.find_devices(destination, lag.since):
            queue.add_device(update.user_id, update.device_id, update.position, update.previous)
        for passing in await self._tools.missed.find_passing(destination, lag.since):
            queue.add_passing(passing)

    async def _finish_catching_up(self, queue: DestinationQueue) -> None:
        lag = self._lags.pop(queue.destination)
        if lag.marks:
            committed = await self.commit(CaughtUp(queue.destination, lag.marks))
            if not committed.results[0]:
                # It fell behind again meanwhile.
                return
            if self._duty.log:
                await self.commit(*self._told(queue.destination, None))
        queue.is_behind = False
        queue.floor = None
        queue.state = State.SENDING

    # Life

    async def commit(self, *changes: Change) -> Committed:
        """Write as the sender whose turn it is. Raises `SenderReplaced`, and then nothing is sent any more."""
        try:
            return await self._tools.committer.commit(*changes, HoldDuty(self._epoch))
        except SenderReplaced:
            self._stopping = True
            self._parked.stop()
            raise

    def _crashed(self, queue: DestinationQueue, failure: Failure) -> None:
        self._lags.pop(queue.destination, None)
        self._note(queue, failure)
        if not self._stopping:
            # The queue keeps what it has, and comes again.
            queue.has_messages = True
            queue.state = State.PAUSED
            queue.timer = self._tools.clock.callLater(PAUSE_S, self._go_on, queue)
        self._ended()

    def _note(self, queue: DestinationQueue, failure: Failure) -> None:
        if failure.check(SenderReplaced):
            logger.error("Another sender has taken over: this one stops")
        else:
            logger.error("Sending to %s failed: %s", queue.destination, failure)

    def _go_on(self, queue: DestinationQueue) -> None:
        queue.timer = None
        queue.state = State.IDLE
        self._wake(queue)

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            resting, self._at_rest = self._at_rest, []
            for waiter in resting:
                waiter.succeed(None)

    def _now_ms(self) -> int:
        return int(self._tools.clock.seconds() * 1000)


def _log_refused(destination: str, answer: Mapping[str, Any]) -> None:
    results = answer.get("pdus")
    for event_id, result in results.items() if isinstance(results, dict) else ():
        if isinstance(result, dict) and result.get("error"):
            logger.info("%s did not take %s: %.200s", destination, event_id, result["error"])
