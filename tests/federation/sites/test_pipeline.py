"""What a batch of a peer writes is on disk before anybody says so to the peer."""

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.pipeline import PeerPipeline
from storage.change import Change
from storage.committer import CommitFailed, Committed, Fence
from storage.database import Waiter


class SlowDisk:
    """`Commits` of which the test says when they are done."""

    def __init__(self) -> None:
        self.waiters: list[Waiter[Committed]] = []

    async def commit(self, *changes: Change, fence: Fence | None = None) -> Committed:
        return await self.submit(changes, fence)

    def submit(self, changes: Iterable[Change], fence: Fence | None = None) -> Waiter[Committed]:
        self.waiters.append(Waiter())
        return self.waiters[-1]

    def check_not_busy(self) -> None:
        """It never is."""


class PipelineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = SlowDisk()
        self.pipeline = PeerPipeline(self.disk)

    async def submit(self) -> Committed:
        return await self.pipeline.submit(())

    def test_events_do_not_wait_and_the_batch_does(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.submit()))
        self.successResultOf(Deferred.fromCoroutine(self.submit()))
        settled = Deferred.fromCoroutine(self.pipeline.take_placed().settled())
        self.disk.waiters[0].succeed(Committed(1, ()))
        self.assertNoResult(settled)
        self.disk.waiters[1].succeed(Committed(2, ()))
        self.successResultOf(settled)

    def test_a_batch_of_which_something_was_not_written_is_not_acknowledged(self) -> None:
        for _ in range(3):
            self.successResultOf(Deferred.fromCoroutine(self.submit()))
        settled = Deferred.fromCoroutine(self.pipeline.take_placed().settled())
        self.disk.waiters[0].succeed(Committed(1, ()))
        self.disk.waiters[1].fail(CommitFailed("the disk is full"))
        self.disk.waiters[2].fail(CommitFailed("what it builds on was not written"))
        self.failureResultOf(settled, CommitFailed)
        # The next batch has nothing to do with it.
        self.successResultOf(Deferred.fromCoroutine(self.pipeline.take_placed().settled()))
