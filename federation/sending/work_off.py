"""Sends one destination what waits for it, transaction by transaction, until nothing does or it takes no more."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError

from federation.sending.batch import MAX_PDUS, Batch, Batches
from federation.sending.catching_up import CatchingUp
from federation.sending.destination_queue import Clock, DestinationQueue, State
from federation.sending.not_taken import NotTaken
from federation.sending.overlooked import Overlooked
from federation.sending.queues import Queues
from federation.sending.tenure import Tenure
from federation.sending.under_way import UnderWay
from federation.transport.errors import FederationError, NotFederated
from storage.change import Change
from storage.destinations_behind import SentLatest
from storage.to_device_remote import RemoteDelivered

logger = logging.getLogger(__name__)


class WorkOff:
    """Takes from a queue only what was acknowledged."""

    def __init__(
        self,
        batches: Batches,
        clock: Clock,
        position: Callable[[], int],
        tenure: Tenure,
        queues: Queues,
        under_way: UnderWay,
        catching_up: CatchingUp,
        not_taken: NotTaken,
        overlooked: Overlooked,
    ) -> None:
        self._batches = batches
        self._clock = clock
        self._position = position
        self._tenure = tenure
        self._queues = queues
        self._under_way = under_way
        self._catching_up = catching_up
        self._not_taken = not_taken
        self._overlooked = overlooked

    async def work_off(self, queue: DestinationQueue) -> None:
        """At the end the queue is idle, or gone."""
        while not self._tenure.is_over:
            if queue.is_behind:
                await self._catching_up.begin(queue)
            batch = await self._make(queue)
            if batch.is_empty and not batch.rooms and not batch.events:
                if queue.is_behind:
                    await self._catching_up.finish(queue)
                    continue
                if queue.is_empty:
                    break
                continue
            answer: Mapping[str, Any] | None = None
            if not batch.is_empty:
                answer = await self._send(queue, batch)
                if answer is None:
                    return
            await self._acknowledge(queue, batch, answer)
        queue.state = State.IDLE
        if queue.is_empty:
            self._queues.drop(queue.destination)

    async def _make(self, queue: DestinationQueue) -> Batch:
        if queue.floor is None:
            queue.floor = queue.find_oldest()
        return await self._batches.make(queue, self._position(), int(self._clock.seconds() * 1000))

    async def _send(self, queue: DestinationQueue, batch: Batch) -> Mapping[str, Any] | None:
        """What was answered; None if it was not acknowledged, and then the queue is backing off."""
        if not self._tenure.is_held():
            # Another site may be sending by now. It begins where this one is known to have come.
            return None
        try:
            answer = await self._under_way.send(queue.destination, batch)
        except CancelledError:
            # The server stops: the queue's floor sees to it that this is sent again.
            return None
        except NotFederated:
            await self._not_taken.forget(queue, batch)
            return None
        except FederationError as error:
            logger.info("Not sent: %s", error)
            await self._not_taken.leave_alone(queue, batch, error)
            return None
        _log_refused(queue.destination, answer)
        return answer

    async def _acknowledge(
        self, queue: DestinationQueue, batch: Batch, answer: Mapping[str, Any] | None
    ) -> None:
        """`answer` is None if nothing of the batch was left to be sent."""
        queue.drop_events(batch.events)
        queue.pause_ms = 0
        queue.limit = min(2 * queue.limit, MAX_PDUS)
        queue.is_careful = queue.is_careful and queue.limit < MAX_PDUS
        changes: list[Change] = []
        if answer is not None:
            changes += self._overlooked.note(queue.destination, batch.events, answer)
        if batch.messages:
            changes.append(RemoteDelivered(queue.destination, batch.messages))
        if batch.rooms:
            changes.append(SentLatest(queue.destination, batch.rooms))
        if changes:
            await self._tenure.commit(*changes)
        if not queue.is_behind:
            queue.floor = None


def _log_refused(destination: str, answer: Mapping[str, Any]) -> None:
    results = answer.get("pdus")
    for event_id, result in results.items() if isinstance(results, dict) else ():
        if isinstance(result, dict) and result.get("error"):
            logger.info("%s did not take %s: %.200s", destination, event_id, result["error"])
