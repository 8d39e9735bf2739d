"""What follows when a destination does not take a transaction: it is left alone for a while, or for good."""

import logging
from typing import Final

from federation.sending.batch import Batch
from federation.sending.catching_up import CatchingUp
from federation.sending.destination_queue import Clock, DestinationQueue
from federation.sending.falling_behind import FallingBehind
from federation.sending.parked import Parked
from federation.sending.queues import Queues
from federation.sending.refusals import Refusals, is_final, is_poison
from federation.sending.sending_tools import Pauses
from federation.sending.tenure import Tenure
from federation.transport.errors import FederationError, Unreachable
from storage.destinations_behind import ForgetDestination, PauseSending, RefusedLatest, SentLatest
from storage.to_device_remote import RemoteDelivered

logger = logging.getLogger(__name__)

MIN_PAUSE_MS: Final = 1_000
MAX_REFUSED: Final = 5
"""How often the latest event of a room may be answered with an error when it is sent alone."""


class NotTaken:
    """Writes down what such a destination misses, and parks it."""

    def __init__(
        self,
        pauses: Pauses,
        refusals: Refusals,
        clock: Clock,
        tenure: Tenure,
        queues: Queues,
        parked: Parked,
        falling_behind: FallingBehind,
        catching_up: CatchingUp,
    ) -> None:
        self._pauses = pauses
        self._refusals = refusals
        self._clock = clock
        self._tenure = tenure
        self._queues = queues
        self._parked = parked
        self._falling_behind = falling_behind
        self._catching_up = catching_up

    async def leave_alone(self, queue: DestinationQueue, batch: Batch, error: FederationError) -> None:
        """Write down what it misses, and send nothing for a while."""
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        queue.is_behind = True
        self._catching_up.drop(queue.destination)
        while True:
            waiting = tuple(queue.events)
            queue.devices.clear()
            queue.heads.clear()
            queue.passing.clear()
            await self._falling_behind.write_down(queue, waiting)
            queue.drop_events(waiting)
            if not (queue.events or queue.devices or queue.passing):
                break
            queue.floor = queue.find_oldest()
        row = await self._pauses.find(queue.destination)
        pause_ms = 0 if row is None else row.retry_at_ms - self._now_ms()
        if row is None or not isinstance(error, Unreachable):
            refused_ms = self._refusals.next_pause_ms(queue.pause_ms, error)
            await self._note_refusal(queue, batch, error, refused_ms)
            pause_ms = max(pause_ms, refused_ms)
        self._park(queue, max(pause_ms, MIN_PAUSE_MS))

    async def forget(self, queue: DestinationQueue, batch: Batch) -> None:
        """Nothing goes there: not whitelisted, or a name that is this server's."""
        self._queues.drop(queue.destination)
        self._catching_up.drop(queue.destination)
        was_sent_before = any(event.times_overlooked for event in queue.events)
        if batch.messages or queue.has_messages or queue.is_behind or was_sent_before:
            forgotten = ForgetDestination(queue.destination)
            await self._tenure.commit(forgotten, *self._falling_behind.told(queue.destination, None))

    async def _note_refusal(
        self, queue: DestinationQueue, batch: Batch, error: FederationError, pause_ms: int
    ) -> None:
        destination = queue.destination
        await self._tenure.commit(PauseSending(destination, self._now_ms() + pause_ms, pause_ms))
        if not (is_poison(error) and batch.is_one_thing):
            return
        if batch.messages and is_final(error):
            logger.warning("%s refuses a message to a device, which is dropped: %s", destination, error)
            await self._tenure.commit(RemoteDelivered(destination, batch.messages))
        for room in batch.rooms:
            committed = await self._tenure.commit(RefusedLatest(destination, room.room_id))
            (times,) = committed.results[:1]
            assert isinstance(times, int)
            if is_final(error) or times >= MAX_REFUSED:
                # The next event of the room will tell it that there was one before.
                logger.warning(
                    "%s refuses an event of %s, it is dropped: %s", destination, room.room_id, error
                )
                await self._tenure.commit(SentLatest(destination, (room,)))

    def _park(self, queue: DestinationQueue, delay_ms: int) -> None:
        self._queues.drop(queue.destination)
        if not self._tenure.is_over:
            self._parked.park(queue.destination, delay_ms / 1000)

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)
