"""The queues of the destinations that have one, and how much they hold together."""

from federation.sending.destination_queue import DestinationQueue, QueuedEvent, QueueLimits, State


class Queues:
    """Owns them."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._queues: dict[str, DestinationQueue] = {}
        self._held = 0
        """Events in all queues, counted anew with each batch of the log."""

    def __len__(self) -> int:
        return len(self._queues)

    def find(self, destination: str) -> DestinationQueue | None:
        return self._queues.get(destination)

    def get(self, destination: str) -> DestinationQueue:
        """Made if there is none."""
        queue = self._queues.get(destination)
        if queue is None:
            queue = self._queues[destination] = DestinationQueue(destination)
        return queue

    def add_event(self, destination: str, event: QueuedEvent) -> DestinationQueue:
        """The queue that it is in now."""
        queue = self.get(destination)
        queue.events.append(event)
        self._held += 1
        return queue

    def drop(self, destination: str) -> None:
        self._queues.pop(destination, None)

    def is_full(self, queue: DestinationQueue) -> bool:
        limits = self._limits
        return queue.is_full(limits.one if self._held < limits.together else limits.few)

    def count_events(self) -> None:
        """Learn what was sent, or dropped, since the last time."""
        self._held = sum(len(queue.events) for queue in self._queues.values())

    def find_oldest(self) -> int | None:
        """The oldest position that some queue still holds in memory only."""
        positions = (queue.find_oldest() for queue in self._queues.values())
        return min((position for position in positions if position is not None), default=None)

    def stop_timers(self) -> None:
        for queue in self._queues.values():
            if queue.timer is not None and queue.timer.active():
                queue.timer.cancel()

    def mark_stopped(self) -> None:
        for queue in self._queues.values():
            queue.state = State.STOPPED
