"""The queues of all destinations, and the one transaction that each may have under way.

A destination without anything to send has no queue. One that does not answer has a queue that is empty, and one timer:
what it misses is in the database. So memory is bounded by how many destinations are active, not by what they miss.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from federation.room_dag.identifiers import domain_of
from federation.sending.batch import Batch, Batches
from federation.sending.destination_queue import (
    MAX_MARKED,
    Clock,
    DestinationQueue,
    QueuedEvent,
    State,
)
from federation.sending.edus import transaction_body
from federation.sending.ephemeral import SharingServers
from federation.sending.room_servers import RoomServers
from federation.transport.errors import FederationError, HttpRefusal, NotFederated, Unreachable
from storage.change import Change
from storage.committer import CommitFailed, Committed, Committer
from storage.database import Database, Waiter, start
from storage.destinations import FailingDestination
from storage.sending import (
    CaughtUp,
    FallBehind,
    ForgetDestination,
    HoldDuty,
    Lag,
    RemoteDelivered,
    RoomBehind,
    SenderReplaced,
    SendingRepository,
    SentLatest,
    TakeOver,
)

logger = logging.getLogger(__name__)

MAX_AT_ONCE: Final = 500
"""Transactions under way, to all destinations together."""
SHORT_PAUSE_MS: Final = 60_000
"""After a refusal, and after errors of this server's own."""


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
    sharing: SharingServers
    batches: Batches


class Deliveries:
    """Owns the queues. Its owner adds to them in the order of the log."""

    def __init__(self, server_name: str, tools: SendingTools, position: Callable[[], int]) -> None:
        self._server_name = server_name
        self._tools = tools
        self._position = position
        self._queues: dict[str, DestinationQueue] = {}
        self._lags: dict[str, Lag] = {}
        """Of destinations that are catching up: as it was when that began."""
        self._marks: dict[str, list[RoomBehind]] = {}
        self._under_way: dict[str, Deferred[Mapping[str, Any]]] = {}
        self._turns = DeferredSemaphore(MAX_AT_ONCE)
        self._epoch = 0
        self._sent = 0
        self._running = 0
        self._stopping = False
        self._at_rest: list[Waiter[None]] = []

    def __len__(self) -> int:
        return len(self._queues)

    def state_of(self, destination: str) -> State:
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
        repository = self._tools.repository
        lagging, waiting = await self._tools.database.read(
            lambda tx: (repository.get_lagging(tx), repository.get_with_messages(tx))
        )
        now_ms = self._now_ms()
        for one in lagging:
            queue = self._queue(one.destination)
            queue.is_behind = True
            self._back_off(queue, max(0, one.retry_at_ms - now_ms))
        for destination in waiting:
            self.add_messages(destination)

    async def stop(self) -> None:
        """Break off the transactions under way: they are sent again after the next start."""
        self._stopping = True
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

    def add_event(self, event: QueuedEvent, destinations: Iterable[str], after: Iterable[str]) -> None:
        """`after`: the servers in the room after the event. `flush` when a batch of the log is through."""
        present = frozenset(after)
        for destination in destinations:
            if destination == self._server_name:
                continue
            queue = self._queue(destination)
            newest = None if destination in present else event.position
            if queue.state is State.BACKING_OFF:
                self._mark(queue, event, newest)
                continue
            queue.events.append(event)
            if queue.is_full:
                self._spill(queue)
            self._wake(queue)

    def add_ephemeral(self, destinations: Iterable[str], key: tuple[str, ...], edu: bytes) -> None:
        """An EDU that is worth nothing later."""
        for destination in destinations:
            queue = self._queue(destination)
            if queue.state is not State.BACKING_OFF:
                queue.add_ephemeral(key, edu)
                self._wake(queue)

    def add_device(self, destinations: Iterable[str], user_id: str, device_id: str, position: int) -> None:
        """A device changed. Who is behind finds it in the database."""
        for destination in destinations:
            if destination == self._server_name:
                continue
            queue = self._queue(destination)
            if queue.state is not State.BACKING_OFF:
                queue.devices.pop((user_id, device_id), None)
                queue.devices[user_id, device_id] = position
                if queue.is_full:
                    self._spill(queue)
                self._wake(queue)

    def add_messages(self, destination: str) -> None:
        """Messages to devices wait in the database."""
        queue = self._queue(destination)
        queue.has_messages = True
        if queue.state is not State.BACKING_OFF:
            self._wake(queue)

    def wake(self, destination: str) -> None:
        """A server that did not answer is back."""
        queue = self._queues.get(destination)
        if queue is not None and queue.state is State.BACKING_OFF:
            if queue.timer is not None and queue.timer.active():
                queue.timer.cancel()
            self._try_again(queue)

    async def flush(self) -> None:
        """Write down what destinations miss that do not answer. Raises `CommitFailed`."""
        marks, self._marks = self._marks, {}
        if not marks:
            return
        changes = [
            FallBehind(destination, min(room.oldest for room in rooms) - 1, tuple(rooms))
            for destination, rooms in marks.items()
        ]
        try:
            await self._commit(*changes)
        except CommitFailed:
            self._marks = marks
            raise

    # Queues

    def _queue(self, destination: str) -> DestinationQueue:
        queue = self._queues.get(destination)
        if queue is None:
            queue = self._queues[destination] = DestinationQueue(destination)
        return queue

    def _mark(self, queue: DestinationQueue, event: QueuedEvent, newest: int | None) -> None:
        if newest is None and queue.marked.get(event.room_id, 0) is None:
            return
        if len(queue.marked) >= MAX_MARKED:
            queue.marked.clear()
        queue.marked[event.room_id] = newest
        rooms = self._marks.setdefault(queue.destination, [])
        oldest = event.position
        for at, room in enumerate(rooms):
            if room.room_id == event.room_id:
                oldest = rooms.pop(at).oldest
                break
        rooms.append(RoomBehind(event.room_id, oldest, newest, event.position))

    def _wake(self, queue: DestinationQueue) -> None:
        if queue.state is State.IDLE and not self._stopping:
            queue.state = State.CATCHING_UP if queue.is_behind else State.SENDING
            self._running += 1
            start(self._run(queue), lambda failure: self._crashed(queue, failure))

    def _spill(self, queue: DestinationQueue) -> None:
        """More waits than memory is for: write it down, and bring the destination up to date from there."""
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        waiting, queue.events = tuple(queue.events), type(queue.events)()
        queue.devices.clear()
        queue.is_behind = True
        self._running += 1
        start(self._write_down(queue, waiting), lambda failure: self._crashed(queue, failure))

    async def _write_down(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent]) -> None:
        await self._fall_behind(queue, waiting)
        # It may have caught up, and be gone, while this was written.
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
        await self._commit(FallBehind(queue.destination, since, tuple(rooms.values())))
        queue.floor = None

    # One destination at work

    async def _run(self, queue: DestinationQueue) -> None:
        await self._turns.acquire()
        try:
            await self._work_off(queue)
        finally:
            self._turns.release()
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
        return await self._tools.batches.make(queue, self._position())

    async def _send(self, queue: DestinationQueue, batch: Batch) -> bool:
        """Whether it was acknowledged; if not, the queue is backing off."""
        self._sent += 1
        # Never used twice, not by another sender either: a repeat of an ID is not looked at by who receives it.
        txn_id = f"{self._epoch}.{self._sent}"
        body = transaction_body(self._server_name, self._now_ms(), batch.pdus, batch.edus)
        sending = Deferred.fromCoroutine(self._tools.transactions.send(queue.destination, txn_id, body))
        self._under_way[queue.destination] = sending
        try:
            answer = await sending
        except CancelledError:
            # The server stops: the queue's floor sees to it that this is sent again.
            return False
        except NotFederated:
            await self._forget(queue)
            return False
        except FederationError as error:
            logger.info("Not sent: %s", error)
            await self._fail(queue, error)
            return False
        finally:
            del self._under_way[queue.destination]
        _log_refused(queue.destination, answer)
        return True

    async def _acknowledge(self, queue: DestinationQueue, batch: Batch) -> None:
        # What was spilled meanwhile is not in the queue any more.
        while queue.events and queue.events[0] in batch.events:
            queue.events.popleft()
        changes: list[Change] = []
        if batch.messages:
            changes.append(RemoteDelivered(queue.destination, batch.messages))
        if batch.rooms:
            changes.append(SentLatest(queue.destination, batch.rooms))
        if changes:
            await self._commit(*changes)
        if not queue.is_behind:
            queue.floor = None

    async def _fail(self, queue: DestinationQueue, error: FederationError) -> None:
        queue.state = State.BACKING_OFF
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        waiting = tuple(queue.events)
        queue.events.clear()
        queue.devices.clear()
        queue.ephemeral.clear()
        # Those that were part of the transaction wait on.
        queue.has_messages = True
        queue.is_behind = True
        self._lags.pop(queue.destination, None)
        await self._fall_behind(queue, waiting)
        row = await self._tools.pauses.find(queue.destination)
        delay_ms = SHORT_PAUSE_MS
        if isinstance(error, HttpRefusal) and error.retry_after_ms is not None:
            delay_ms = max(delay_ms, error.retry_after_ms)
        if row is not None and isinstance(error, Unreachable | HttpRefusal):
            delay_ms = max(0, row.retry_at_ms - self._now_ms())
        self._back_off(queue, delay_ms)

    async def _forget(self, queue: DestinationQueue) -> None:
        """Nothing goes there: not whitelisted, or a name that is this server's."""
        self._queues.pop(queue.destination, None)
        self._lags.pop(queue.destination, None)
        await self._commit(ForgetDestination(queue.destination))

    def _back_off(self, queue: DestinationQueue, delay_ms: int) -> None:
        queue.state = State.BACKING_OFF
        if not self._stopping:
            queue.timer = self._tools.clock.callLater(delay_ms / 1000, self._try_again, queue)

    def _try_again(self, queue: DestinationQueue) -> None:
        queue.timer = None
        queue.state = State.IDLE
        self._wake(queue)

    # Catching up

    async def _begin_catching_up(self, queue: DestinationQueue) -> None:
        if queue.destination in self._lags:
            return
        queue.state = State.CATCHING_UP
        # What is known to be missed may now be missed again: it must be written down again then.
        queue.marked.clear()
        lag = await self._tools.database.read(
            lambda tx: self._tools.repository.find_lag(tx, queue.destination)
        )
        if lag is None:
            lag = Lag(self._position(), 0)
        self._lags[queue.destination] = lag
        await self._add_missed_devices(queue, lag.since)

    async def _add_missed_devices(self, queue: DestinationQueue, since: int) -> None:
        repository = self._tools.repository
        updates = await self._tools.database.read(lambda tx: repository.get_device_updates_after(tx, since))
        shared: dict[str, bool] = {}
        for update in updates:
            user_id = update.user_id
            if user_id not in shared:
                shared[user_id] = domain_of(
                    user_id
                ) == self._server_name and await self._tools.sharing.is_shared(user_id, queue.destination)
            if shared[user_id]:
                queue.devices[user_id, update.device_id] = update.position

    async def _finish_catching_up(self, queue: DestinationQueue) -> None:
        lag = self._lags.pop(queue.destination)
        if lag.marks:
            committed = await self._commit(CaughtUp(queue.destination, lag.marks))
            if not committed.results[0]:
                # It fell behind again meanwhile.
                return
        queue.is_behind = False
        queue.floor = None
        queue.state = State.SENDING

    # Life

    async def _commit(self, *changes: Change) -> Committed:
        return await self._tools.committer.commit(*changes, HoldDuty(self._epoch))

    def _crashed(self, queue: DestinationQueue, failure: Failure) -> None:
        self._lags.pop(queue.destination, None)
        if failure.check(SenderReplaced):
            logger.error("Another sender has taken over: this one stops")
            self._stopping = True
        else:
            # The queue keeps what it has, and comes again.
            logger.error("Sending to %s failed: %s", queue.destination, failure)
            queue.has_messages = True
            self._back_off(queue, SHORT_PAUSE_MS)
        self._ended()

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
