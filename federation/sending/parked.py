"""Destinations that nothing is sent to for a while: one entry each, and one timer for all.

What they miss is in the database. A room's event costs nothing for those of which the database knows already that they
miss something there.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from federation.sending.destination_queue import Clock, Timer

MAX_TOLD: Final = 200_000
"""Pairs of a room and a destination: of more, the rooms that were looked at longest ago are written down again."""
AT_ONCE: Final = 20
PAUSE_S: Final = 0.1
"""After a start thousands can be due: so many are tried, then the next ones after this."""
SLACK: Final = 1_000


class Parked:
    """Owns them. `due` is called with each whose time has come, after it was released."""

    def __init__(self, clock: Clock, due: Callable[[str], None]) -> None:
        self._clock = clock
        self._due = due
        self._until_s: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: Timer | None = None
        self._timer_s = 0.0
        self._told: OrderedDict[str, set[str]] = OrderedDict()
        self._told_count = 0

    def __contains__(self, destination: str) -> bool:
        return destination in self._until_s

    def __len__(self) -> int:
        return len(self._until_s)

    def without(self, destinations: Collection[str]) -> set[str]:
        """Those that are not parked."""
        return {name for name in destinations if name not in self._until_s}

    def park(self, destination: str, delay_s: float) -> None:
        until_s = self._clock.seconds() + delay_s
        self._until_s[destination] = until_s
        heapq.heappush(self._heap, (until_s, destination))
        if len(self._heap) > 2 * len(self._until_s) + SLACK:
            # Most of it is of destinations that were released before their time.
            self._heap = [(at_s, name) for name, at_s in self._until_s.items()]
            heapq.heapify(self._heap)
        self._set_timer(self._heap[0][0])

    def release(self, destination: str) -> bool:
        """Whether it was parked."""
        if self._until_s.pop(destination, None) is None:
            return False
        for told in self._told.values():
            if destination in told:
                told.discard(destination)
                self._told_count -= 1
        return True

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # What the database knows that they miss

    def untold(self, room_id: str, destinations: Collection[str]) -> Collection[str]:
        """Without those that are known to miss something of the room, and to be in it."""
        told = self._told.get(room_id)
        if not told:
            return destinations
        self._told.move_to_end(room_id)
        return [name for name in destinations if name not in told]

    def tell(self, room_id: str, destination: str) -> None:
        """A parked destination, which is in the room, misses something of it."""
        told = self._told.setdefault(room_id, set())
        if destination not in told:
            told.add(destination)
            self._told_count += 1
            while self._told_count > MAX_TOLD and len(self._told) > 1:
                self._told_count -= len(self._told.popitem(last=False)[1])

    def has_left(self, room_id: str, destination: str) -> None:
        """What it is to be sent of the room ends somewhere now."""
        told = self._told.get(room_id, ())
        if destination in told:
            self._told[room_id].discard(destination)
            self._told_count -= 1

    # Time

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None and self._timer.active():
            if self._timer_s <= at_s:
                return
            self._timer.cancel()
        self._timer_s = at_s
        self._timer = self._clock.callLater(max(0.0, at_s - self._clock.seconds()), self._look)

    def _look(self) -> None:
        now_s = self._clock.seconds()
        released = 0
        while self._heap and self._heap[0][0] <= now_s and released < AT_ONCE:
            at_s, destination = heapq.heappop(self._heap)
            # It may have been released, and parked for longer, since.
            if self._until_s.get(destination) == at_s:
                released += 1
                self.release(destination)
                self._due(destination)
        if self._heap:
            self._set_timer(max(self._heap[0][0], now_s + PAUSE_S if released else now_s))
