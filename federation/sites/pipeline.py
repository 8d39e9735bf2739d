"""What a batch of a peer writes, waited for at its end: events of one room need not wait for each other's disk."""

from collections.abc import Iterable

from storage.change import Change
from storage.committer import CommitFailed, Commits, Committed, Fence
from storage.database import Waiter


class PeerPipeline:
    """`Commits` for events of a peer. Nothing is acknowledged to the peer before `settled` has returned."""

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

    async def settled(self) -> None:
        """Everything submitted until now is on disk when this returns. Raises the first `CommitFailed`."""
        under_way, self._under_way = self._under_way, []
        failed: CommitFailed | None = None
        for waiter in under_way:
            try:
                await waiter
            except CommitFailed as error:
                failed = failed or error
        if failed is not None:
            raise failed
