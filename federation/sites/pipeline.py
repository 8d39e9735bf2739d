"""What a batch of a peer writes, waited for at its end: events of one room need not wait for each other's disk."""

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from federation.sites.write_faults import is_at_fault
from storage.change import Change
from storage.committer import Commits, Committed, Fence
from storage.database import Waiter
from storage.events import StoreEvent


class Placed:
    """What became of the events of a batch that were submitted."""

    def __init__(self, submitted: Iterable[tuple[Waiter[Committed], Sequence[str]]]) -> None:
        """Each with the rooms of its events."""
        self._failure: Failure | None = None
        self.unwritable: dict[str, str] = {}
        """Rooms of which there is an event that the database does not take, whatever is beside it, with the reason."""
        self._watching = [
            Deferred.fromCoroutine(_until(waiter)).addErrback(self._note_failure, rooms)
            for waiter, rooms in submitted
        ]

    def _note_failure(self, failure: Failure, rooms: Sequence[str]) -> None:
        self._failure = self._failure or failure
        error = failure.value
        if error is not None and is_at_fault(error):
            self.unwritable |= dict.fromkeys(rooms, str(error) or type(error).__name__)

    def check(self) -> None:
        """Raises the first failure so far: what is written behind them, in another transaction, must not be."""
        if self._failure is not None:
            self._failure.raiseException()

    async def settled(self) -> None:
        """All of them are on disk when this returns. Raises the first failure."""
        for watching in self._watching:
            await watching
        self.check()


async def _until(waiter: Waiter[Committed]) -> None:
    await waiter


class PeerPipeline:
    """`Commits` for events of a peer. Nothing is acknowledged to the peer before they are `settled`."""

    def __init__(self, committer: Commits) -> None:
        self._committer = committer
        self._under_way: list[tuple[Waiter[Committed], Sequence[str]]] = []

    async def commit(self, *changes: Change, fence: Fence | None = None) -> Committed:
        return await self._committer.commit(*changes, fence=fence)

    def submit(self, changes: Iterable[Change], fence: Fence | None = None) -> Waiter[Committed]:
        """The answer comes at once, and says nothing: it is in the queue, before what is submitted later."""
        changes = tuple(changes)
        rooms = [change.room_id for change in changes if isinstance(change, StoreEvent)]
        self._under_way.append((self._committer.submit(changes, fence), rooms))
        queued: Waiter[Committed] = Waiter()
        queued.succeed(Committed(0, ()))
        return queued

    def check_not_busy(self) -> None:
        self._committer.check_not_busy()

    def take_placed(self) -> Placed:
        """What was submitted since the last call."""
        under_way, self._under_way = self._under_way, []
        return Placed(under_way)
