"""What a batch of a peer writes, waited for at its end: events of one room need not wait for each other's disk."""

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from storage.change import Change
from storage.committer import Commits, Committed, Fence
from storage.database import Waiter


class Placed:
    """What became of the events of a batch that were submitted."""

    def __init__(self, waiters: Iterable[Waiter[Committed]]) -> None:
        self._failure: Failure | None = None
        self._watching = [
            Deferred.fromCoroutine(_until(waiter)).addErrback(self._note_failure) for waiter in waiters
        ]

    def _note_failure(self, failure: Failure) -> None:
        self._failure = self._failure or failure

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
        self._under_way: list[Waiter[Committed]] = []

    async def commit(self, *changes: Change, fence: Fence | None = None) -> Committed:
        return await self._committer.commit(*changes, fence=fence)

    def submit(self, changes: Iterable[Change], fence: Fence | None = None) -> Waiter[Committed]:
        """The answer comes at once, and says nothing: it is in the queue, before what is submitted later."""
        self._under_way.append(self._committer.submit(changes, fence))
        queued: Waiter[Committed] = Waiter()
        queued.succeed(Committed(0, ()))
        return queued

    def check_not_busy(self) -> None:
        self._committer.check_not_busy()

    def take_placed(self) -> Placed:
        """What was submitted since the last call."""
        under_way, self._under_way = self._under_way, []
        return Placed(under_way)
