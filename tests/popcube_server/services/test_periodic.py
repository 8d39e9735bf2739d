"""Work that is done again and again."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.periodic import Periodic
from popcube_server.services.platform import Platform
from tests.storage.storage_case import synchronous


class PeriodicTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.runs: list[Deferred[None]] = []
        self.periodic = Periodic(Platform(self.clock, bytes, synchronous), "test", 10, self.work)

    async def work(self) -> None:
        run: Deferred[None] = Deferred()
        self.runs.append(run)
        await run

    def stop(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.periodic.stop())

    def test_pause_lies_between_the_runs(self) -> None:
        self.periodic.start()
        self.clock.advance(9)
        self.assertEqual(len(self.runs), 0)
        self.clock.advance(1)
        self.assertEqual(len(self.runs), 1)
        self.clock.advance(100)
        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback(None)
        self.clock.advance(10)
        self.assertEqual(len(self.runs), 2)

    def test_it_goes_on_after_an_error(self) -> None:
        self.periodic.start()
        self.clock.advance(10)
        with self.assertLogs("popcube_server"):
            self.runs[0].errback(ValueError("bad"))
        self.clock.advance(10)
        self.assertEqual(len(self.runs), 2)

    def test_stop_waits_for_the_run_and_is_the_end(self) -> None:
        self.periodic.start()
        self.clock.advance(10)
        stopped = self.stop()
        self.assertNoResult(stopped)
        self.runs[0].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_in_a_pause_and_before_the_start(self) -> None:
        self.successResultOf(self.stop())
        self.periodic.start()
        self.successResultOf(self.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
