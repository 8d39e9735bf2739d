"""What is to be sent to each destination, and when one begins: the way from the log into the queues.

A destination without anything to send has no queue, and neither has one that does not answer: it is parked, and what it
misses is in the database. So memory is bounded by how many destinations are active, not by what others miss.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from twisted.python.failure import Failure

from federation.sending.catching_up import CatchingUp
from federation.sending.destination_queue import DestinationQueue, Passing, QueuedEvent, State
from federation.sending.falling_behind import FallingBehind
from federation.sending.inherited import Inherited
from federation.sending.not_taken import NotTaken
from federation.sending.overlooked import Overlooked
from federation.sending.parked import Parked
from federation.sending.queues import Queues
from federation.sending.sending_duty import ALONE, SendingDuty
from federation.sending.sending_tools import SendingTools
from federation.sending.tenure import Tenure
from federation.sending.under_way import UnderWay
from federation.sending.work_off import WorkOff
from federation.sending.work_slots import WorkSlots
from storage.change import Change
from storage.committer import Committed
from storage.database import Waiter, start
from storage.destinations_behind import DestinationsBehindRepository
from storage.device_list_updates import DeviceUpdate
from storage.overlooked_events import ForgetOverlooked
from storage.sender_epoch import SenderReplaced
from storage.to_device_remote import ToDeviceRemoteRepository

logger = logging.getLogger(__name__)

PAUSE_S: Final = 60.0
"""After errors of this server's own."""


class Deliveries:
    """Its owner adds to the queues in the order of the log."""

    def __init__(
        self,
        server_name: str,
        tools: SendingTools,
        position: Callable[[], int],
        duty: SendingDuty = ALONE,
    ) -> None:
        self._server_name = server_name
        self._database = tools.database
        self._behind = DestinationsBehindRepository()
        self._messages = ToDeviceRemoteRepository()
        self._clock = tools.clock
        self._position = position
        self._parked = Parked(tools.clock, self._come_back)
        self._tenure = Tenure(tools.committer, duty, self._parked.stop)
        self._inherited = Inherited(server_name, tools.database, tools.servers, duty)
        self._queues = Queues(tools.limits)
        self._falling_behind = FallingBehind(tools.servers, self._inherited, duty, self._tenure, position)
        self._catching_up = CatchingUp(
            tools.database, tools.missed, self._falling_behind, self._tenure, position
        )
        self._overlooked = Overlooked(
            tools.clock, tools.database, tools.servers, self._tenure, self._add_again
        )
        self._under_way = UnderWay(server_name, tools.transactions, tools.clock, self._tenure)
        self._work = WorkOff(
            tools.batches,
            tools.clock,
            position,
            self._tenure,
            self._queues,
            self._under_way,
            self._catching_up,
            NotTaken(
                tools.pauses,
                tools.refusals,
                tools.clock,
                self._tenure,
                self._queues,
                self._parked,
                self._falling_behind,
                self._catching_up,
            ),
            self._overlooked,
        )
        self._slots = WorkSlots()
        self._running = 0
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
        queue = self._queues.find(destination)
        return State.IDLE if queue is None else queue.state

    def find_oldest(self) -> int | None:
        """The oldest position that some queue still holds in memory only."""
        return self._queues.find_oldest()

    async def begin(self) -> None:
        """Take over from whoever sent before, and go on with what was left."""
        await self._tenure.begin()
        inherited = await self._inherited.find(self._position())
        if inherited:
            await self.commit(*inherited)
        lagging, waiting = await self._database.read(
            lambda tx: (self._behind.get_lagging(tx), self._messages.get_with_messages(tx))
        )
        now_ms = int(self._clock.seconds() * 1000)
        for one in lagging:
            self._parked.park(one.destination, max(0, one.retry_at_ms - now_ms) / 1000)
        for destination in waiting:
            self.add_messages(destination)
        await self._overlooked.begin()

    async def stop(self) -> None:
        """Break off the transactions under way: they are sent again after the next start."""
        self._tenure.end()
        self._parked.stop()
        self._overlooked.stop()
        self._under_way.break_off()
        self._queues.stop_timers()
        if self._running:
            waiter: Waiter[None] = Waiter()
            self._at_rest.append(waiter)
            await waiter
        self._queues.mark_stopped()

    async def commit(self, *changes: Change) -> Committed:
        """Write as the sender whose turn it is. Raises `SenderReplaced`, and then nothing is sent any more."""
        return await self._tenure.commit(*changes)

    # What there is to send

    def add_event(self, event: QueuedEvent, staying: Collection[str], leaving: Collection[str]) -> None:
        """For the servers in the room after it, and for those who get nothing after this: no server is in both.

        `flush` when a batch of the log is through.
        """
        for destination in self._parked.untold(event.room_id, staying):
            if destination in self._parked:
                self._falling_behind.mark(destination, event, None)
                self._parked.tell(event.room_id, destination)
            elif destination != self._server_name:
                self._add_event(destination, event)
        for destination in leaving:
            if destination in self._parked:
                self._falling_behind.mark(destination, event, event.position)
                self._parked.has_left(event.room_id, destination)
            elif destination != self._server_name:
                self._add_event(destination, event)

    async def _add_again(self, destination: str, events: Sequence[QueuedEvent]) -> None:
        # Whoever has taken over sends them, if anybody does: nothing would ever take them from a queue here.
        if self._tenure.is_over or not events:
            return
        for event in events:
            self.add_event(event, (destination,), ())
        if destination in self._parked:
            await self.flush()
            await self.commit(ForgetOverlooked(destination, tuple(event.event_id for event in events)))

    def _add_event(self, destination: str, event: QueuedEvent) -> None:
        queue = self._queues.add_event(destination, event)
        if self._queues.is_full(queue):
            self._spill(queue)
        self._wake(queue)

    def add_passing(self, destinations: Collection[str], passing: Passing) -> None:
        """Goes with the next transaction; `send_now` makes one. Who is parked is told later how it is then."""
        for destination in self._parked.without(destinations):
            self._queues.get(destination).add_passing(passing)

    def send_now(self, destinations: Collection[str]) -> None:
        """Send what waits."""
        for destination in destinations:
            queue = self._queues.find(destination)
            if queue is not None:
                self._wake(queue)

    def add_device(self, destinations: Collection[str], update: DeviceUpdate) -> None:
        """A device changed. Who is parked finds it in the database."""
        for destination in self._parked.without(destinations):
            if destination != self._server_name:
                queue = self._queues.get(destination)
                queue.add_device(update.user_id, update.device_id, update.position, update.previous)
                if self._queues.is_full(queue):
                    self._spill(queue)
                self._wake(queue)

    def add_messages(self, destination: str) -> None:
        """Messages to devices wait in the database."""
        if destination not in self._parked:
            queue = self._queues.get(destination)
            queue.has_messages = True
            self._wake(queue)

    def wake(self, destination: str) -> None:
        """A server that did not answer is back."""
        if self._parked.release(destination):
            self._come_back(destination)

    def _come_back(self, destination: str) -> None:
        queue = self._queues.get(destination)
        queue.is_behind = queue.has_messages = True
        self._wake(queue)

    async def flush(self) -> None:
        """Write down what destinations miss that do not answer. Raises `CommitFailed`."""
        self._queues.count_events()
        await self._falling_behind.flush()

    # More than memory is for

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

    async def _write_down(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent]) -> None:
        await self._falling_behind.write_down(queue, waiting)
        # It may have caught up, and be gone, while this was written; or not answer any more.
        if queue.destination not in self._parked:
            queue = self._queues.get(queue.destination)
            queue.is_behind = True
            self._wake(queue)
        self._ended()

    def _not_written(self, queue: DestinationQueue, waiting: Sequence[QueuedEvent], failure: Failure) -> None:
        self._note(queue, failure)
        if queue.destination in self._parked:
            for event in waiting:
                self._falling_behind.mark(queue.destination, event, None)
        else:
            queue.events[:0] = waiting
        self._ended()

    # Who is at work

    def _wake(self, queue: DestinationQueue) -> None:
        if queue.state is not State.IDLE or self._tenure.is_over:
            return
        queue.state = State.CATCHING_UP if queue.is_behind else State.SENDING
        if self._slots.take(queue):
            self._begin(queue)

    def _begin(self, queue: DestinationQueue) -> None:
        self._running += 1
        start(self._run(queue), lambda failure: self._crashed(queue, failure))

    async def _run(self, queue: DestinationQueue) -> None:
        try:
            await self._work.work_off(queue)
        finally:
            self._slots.leave()
            while not self._tenure.is_over and (waiting := self._slots.take_next()) is not None:
                self._begin(waiting)
        self._ended()

    def _crashed(self, queue: DestinationQueue, failure: Failure) -> None:
        self._catching_up.drop(queue.destination)
        self._note(queue, failure)
        if not self._tenure.is_over:
            # The queue keeps what it has, and comes again.
            queue.has_messages = True
            queue.state = State.PAUSED
            queue.timer = self._clock.callLater(PAUSE_S, self._go_on, queue)
        self._ended()

    def _go_on(self, queue: DestinationQueue) -> None:
        queue.timer = None
        queue.state = State.IDLE
        self._wake(queue)

    def _note(self, queue: DestinationQueue, failure: Failure) -> None:
        if failure.check(SenderReplaced):
            logger.error("Another sender has taken over: this one stops")
        else:
            logger.error("Sending to %s failed: %s", queue.destination, failure)

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            resting, self._at_rest = self._at_rest, []
            for waiter in resting:
                waiter.succeed(None)
