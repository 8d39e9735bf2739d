"""How many destinations are sent to at once; the others wait for their turn."""

from collections import deque
from typing import Final

from federation.sending.destination_queue import DestinationQueue

MAX_AT_ONCE: Final = 200
"""Transactions under way, to all destinations together. Fewer than the requests that there may be: servers that answer
slowly, which somebody hostile can have any number of, must not keep joins and keys waiting.
"""


class WorkSlots:
    """Counts those at work, and owns the order of those that wait."""

    def __init__(self) -> None:
        self._waiting: deque[DestinationQueue] = deque()
        self._at_work = 0

    def take(self, queue: DestinationQueue) -> bool:
        """Whether it may begin at once. If not, `take_next` gives it when it may."""
        if self._at_work >= MAX_AT_ONCE:
            self._waiting.append(queue)
            return False
        self._at_work += 1
        return True

    def take_next(self) -> DestinationQueue | None:
        """One that waited and may begin now."""
        if not self._waiting or self._at_work >= MAX_AT_ONCE:
            return None
        self._at_work += 1
        return self._waiting.popleft()

    def leave(self) -> None:
        """One that was at work is not any more."""
        self._at_work -= 1
