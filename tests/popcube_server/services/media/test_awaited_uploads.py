"""Waiting for an upload: woken by the log, by time, or not at all."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.media.awaited_uploads import AwaitedUploads, Watch
from popcube_server.services.platform import Platform
from storage.change import LogEntry
from storage.log import Log
from tests.storage.storage_case import synchronous


class AwaitedUploadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.log = Log(10)
        self.awaited = AwaitedUploads(Platform(self.clock, bytes, synchronous), self.log)
        self.awaited.start()

    def publish(self, media_id: str, kind: str = "media") -> None:
        self.log.publish([LogEntry(self.log.position + 1, kind, (media_id,), None)])

    def wait(self, watch: Watch) -> "Deferred[None]":
        return Deferred.fromCoroutine(watch.wait(10))

    def test_upload_wakes_all_who_wait_for_it_and_nobody_else(self) -> None:
        first, second, other = (self.wait(self.awaited.watch(media_id)) for media_id in ("m1", "m1", "m2"))
        self.publish("m1", kind="tag")
        self.assertNoResult(first)
        self.publish("m1")
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertNoResult(other)

    def test_upload_between_watching_and_waiting_is_noticed(self) -> None:
        watch = self.awaited.watch("m1")
        self.publish("m1")
        self.successResultOf(self.wait(watch))

    def test_time_ends_the_wait(self) -> None:
        waiting = self.wait(self.awaited.watch("m1"))
        self.clock.advance(9.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.successResultOf(waiting)

    def test_client_that_goes_away_leaves_nothing(self) -> None:
        watch = self.awaited.watch("m1")
        waiting = self.wait(watch)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        watch.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.awaited.count, 0)
        self.publish("m1")

    def test_watch_that_is_woken_leaves_no_timer(self) -> None:
        self.wait(self.awaited.watch("m1"))
        self.publish("m1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_wakes_everybody_and_follows_no_more(self) -> None:
        waiting = self.wait(self.awaited.watch("m1"))
        self.successResultOf(Deferred.fromCoroutine(self.awaited.stop()))
        self.successResultOf(waiting)
        late = self.awaited.watch("m2")
        self.publish("m2")
        self.assertNoResult(self.wait(late))
