"""Events that a destination's answer says nothing of: it did not know their room yet.

A server is sent what is said in a room as soon as its join is stored here. That may be before it has the answer to its
`send_join`, or has worked on it, and until then some servers pass over events of the room without an error. Were
nothing said after them, they would never be heard of there. Source: server-server API, PUT
/_matrix/federation/v1/send/{txnId}: "pdus" has an entry for each event "that was processed".
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from twisted.python.failure import Failure

from federation.expiring_cache import ExpiringCache
from federation.sending.destination_queue import Clock, QueuedEvent, Timer
from federation.sending.room_servers import RoomServers
from federation.sending.tenure import Tenure
from storage.change import Change
from storage.database import Database, start
from storage.overlooked_events import ForgetOverlooked, NoteOverlooked, OverlookedEventsRepository
from storage.sender_epoch import SenderReplaced

logger = logging.getLogger(__name__)

PAUSES_S: Final = (1.0, 10.0, 60.0)
"""How long after an answer its events are sent again: a join of a large room takes its time."""
MAX_WAITING: Final = 1_000
"""How many answers may wait for that at the same time; what the next ones say nothing of is not sent again."""
GIVEN_UP_MS: Final = 3_600_000
MAX_GIVEN_UP: Final = 10_000

SendAgain = Callable[[str, Sequence[QueuedEvent]], Awaitable[None]]
"""A destination, and what it is to be sent."""


class Overlooked:
    """Sends them again, a few times. The database knows of them: whoever sends next goes on with it."""

    def __init__(
        self, clock: Clock, database: Database, servers: RoomServers, tenure: Tenure, send_again: SendAgain
    ) -> None:
        self._clock = clock
        self._database = database
        self._repository = OverlookedEventsRepository()
        self._servers = servers
        self._tenure = tenure
        self._send_again = send_again
        self._timers: set[Timer] = set()
        self._given_up: ExpiringCache[tuple[str, str], bool] = ExpiringCache(MAX_GIVEN_UP, self._now_ms)
        """(Destination, room): it passes over whatever is said there, or says nothing of what it takes."""

    async def begin(self) -> None:
        """Go on for whoever sent before."""
        by_destination: dict[str, list[QueuedEvent]] = {}
        for one in await self._database.read(self._repository.get_all):
            event = QueuedEvent(one.nid, one.room_id, one.event_id, times_overlooked=1)
            by_destination.setdefault(one.destination, []).append(event)
        for destination, events in by_destination.items():
            self._start(destination, events)

    def note(
        self, destination: str, events: Iterable[QueuedEvent], answer: Mapping[str, Any]
    ) -> Sequence[Change]:
        """What `destination` answered to a transaction with these events; what is to be written down of that."""
        again: list[QueuedEvent] = []
        over: list[QueuedEvent] = []
        for event in events:
            is_again = event.event_id not in answer["pdus"] and self._is_wanted(destination, event)
            (again if is_again else over).append(event)
        if len(self._timers) >= MAX_WAITING:
            over += again
            again.clear()
        changes: list[Change] = []
        ended = tuple(event.event_id for event in over if event.times_overlooked)
        if ended:
            changes.append(ForgetOverlooked(destination, ended))
        if again:
            logger.info("%s passed over %d events, which are sent again", destination, len(again))
            new = tuple(event.event_id for event in again if not event.times_overlooked)
            if new:
                changes.append(NoteOverlooked(destination, new))
            self._send_later(destination, again)
        return changes

    def _is_wanted(self, destination: str, event: QueuedEvent) -> bool:
        """Whether what was passed over is to be sent once more."""
        room = (destination, event.room_id)
        if event.times_overlooked < len(PAUSES_S):
            return self._given_up.find(room) is None
        self._given_up.put(room, True, self._now_ms() + GIVEN_UP_MS)
        return False

    def _send_later(self, destination: str, events: Iterable[QueuedEvent]) -> None:
        again = [replace(event, times_overlooked=event.times_overlooked + 1) for event in events]
        again.sort(key=lambda event: event.position)
        pause_s = PAUSES_S[min(event.times_overlooked for event in again) - 1]

        def send() -> None:
            self._timers.discard(timer)
            self._start(destination, again)

        timer = self._clock.callLater(pause_s, send)
        self._timers.add(timer)

    def _start(self, destination: str, events: Sequence[QueuedEvent]) -> None:
        start(self._send(destination, events), lambda failure: _not_sent(destination, failure))

    async def _send(self, destination: str, events: Iterable[QueuedEvent]) -> None:
        staying: list[QueuedEvent] = []
        left: list[QueuedEvent] = []
        for event in events:
            is_there = destination in await self._servers.get(event.room_id)
            (staying if is_there else left).append(event)
        if left:
            await self._tenure.commit(ForgetOverlooked(destination, tuple(event.event_id for event in left)))
        await self._send_again(destination, staying)

    def stop(self) -> None:
        """Send nothing again any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)


def _not_sent(destination: str, failure: Failure) -> None:
    # Whoever has taken over sends them.
    if not failure.check(SenderReplaced):
        logger.error("Not sent again to %s: %s", destination, failure.value)
