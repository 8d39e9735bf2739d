"""Brings a destination that is behind up to date: from what is written down to where the queue goes on."""

from collections.abc import Callable

from federation.sending.destination_queue import DestinationQueue, State
from federation.sending.falling_behind import FallingBehind
from federation.sending.missed import Missed
from federation.sending.tenure import Tenure
from storage.database import Database
from storage.destinations_behind import CaughtUp, DestinationsBehindRepository, Lag


class CatchingUp:
    """Owns how far behind those destinations were that are catching up, as it was when that began."""

    def __init__(
        self,
        database: Database,
        missed: Missed,
        falling_behind: FallingBehind,
        tenure: Tenure,
        position: Callable[[], int],
    ) -> None:
        self._database = database
        self._repository = DestinationsBehindRepository()
        self._missed = missed
        self._falling_behind = falling_behind
        self._tenure = tenure
        self._position = position
        self._lags: dict[str, Lag] = {}

    async def begin(self, queue: DestinationQueue) -> None:
        """Put what was missed besides events into the queue. Does nothing if this has begun."""
        if queue.destination in self._lags:
            return
        queue.state = State.CATCHING_UP
        destination = queue.destination
        lag = await self._database.read(lambda tx: self._repository.find_lag(tx, destination))
        if lag is None:
            # What could not be written down is missed all the same.
            lag = Lag((self._position() + 1 if queue.floor is None else queue.floor) - 1, 0)
        self._lags[destination] = lag
        queue.pause_ms = lag.pause_ms
        if lag.pause_ms:
            queue.is_careful, queue.limit = True, 1
        for update in await self._missed.find_devices(destination, lag.since):
            queue.add_device(update.user_id, update.device_id, update.position, update.previous)
        for passing in await self._missed.find_passing(destination, lag.since):
            queue.add_passing(passing)

    async def finish(self, queue: DestinationQueue) -> None:
        """Everything was sent: the queue goes on from here, unless its destination fell behind again meanwhile."""
        lag = self._lags.pop(queue.destination)
        if lag.marks:
            committed = await self._tenure.commit(CaughtUp(queue.destination, lag.marks))
            if not committed.results[0]:
                # It fell behind again meanwhile.
                return
            told = self._falling_behind.told(queue.destination, None)
            if told:
                await self._tenure.commit(*told)
        queue.is_behind = False
        queue.floor = None
        queue.state = State.SENDING

    def drop(self, destination: str) -> None:
        """It is not catching up any more: when it comes back, this begins anew."""
        self._lags.pop(destination, None)
