"""Events that a destination's answer says nothing of: it did not know their room yet.

A server is sent what is said in a room as soon as its join is stored here. That may be before it has the answer to its
`send_join`, or has worked on it, and until then some servers pass over events of the room without an error. Were
nothing said after them, they would never be heard of there. Source: server-server API, PUT
/_matrix/federation/v1/send/{txnId}: "pdus" has an entry for each event "that was processed".
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from federation.expiring_cache import ExpiringCache
from federation.sending.destination_queue import Clock, QueuedEvent, Timer
from federation.sending.room_servers import RoomServers
from storage.database import start

logger = logging.getLogger(__name__)

PAUSES_S: Final = (1.0, 10.0, 60.0)
"""How long after an answer its events are sent again: a join of a large room takes its time."""
MAX_WAITING: Final = 1_000
"""How many answers may wait for that at the same time; what the next ones say nothing of is not sent again."""
GIVEN_UP_MS: Final = 3_600_000
MAX_GIVEN_UP: Final = 10_000


class Overlooked:
    """Sends them again, a few times. After a restart it does not: the room's next event tells of them."""

    def __init__(
        self, clock: Clock, servers: RoomServers, send_again: Callable[[str, QueuedEvent], None]
    ) -> None:
        self._clock = clock
        self._servers = servers
        self._send_again = send_again
        self._timers: set[Timer] = set()
        self._given_up: ExpiringCache[tuple[str, str], bool] = ExpiringCache(MAX_GIVEN_UP, self._now_ms)
        """(Destination, room): it passes over whatever is said there, or says nothing of what it takes."""

    def note(self, destination: str, events: Iterable[QueuedEvent], answer: Mapping[str, Any]) -> None:
        """What `destination` answered to a transaction with these events."""
        again = []
        for event in events:
            if event.event_id in answer["pdus"]:
                continue
            room = (destination, event.room_id)
            if event.times_overlooked == len(PAUSES_S):
                self._given_up.put(room, True, self._now_ms() + GIVEN_UP_MS)
            elif self._given_up.find(room) is None:
                again.append(replace(event, times_overlooked=event.times_overlooked + 1))
        if not again or len(self._timers) >= MAX_WAITING:
            return
        logger.info("%s passed over %d events, which are sent again", destination, len(again))
        again.sort(key=lambda event: event.position)
        pause_s = PAUSES_S[min(event.times_overlooked for event in again) - 1]

        def send() -> None:
            self._timers.discard(timer)
            start(
                self._send(destination, again),
                lambda failure: logger.error("Not sent again to %s: %s", destination, failure.value),
            )

        timer = self._clock.callLater(pause_s, send)
        self._timers.add(timer)

    async def _send(self, destination: str, events: Iterable[QueuedEvent]) -> None:
        for event in events:
            # It may have left meanwhile.
            if destination in await self._servers.get(event.room_id):
                self._send_again(destination, event)

    def stop(self) -> None:
        """Send nothing again any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)
