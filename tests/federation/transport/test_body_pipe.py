"""Bodies that are read piece by piece: pauses, limits, and ends of all kinds."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.transport.body_pipe import FULL_BYTES, BodyPipe, StreamLimits
from federation.transport.errors import AnswerTooLarge, TransportError

LIMITS = StreamLimits(5, 10 * FULL_BYTES, start_s=10, min_bytes_per_s=100, total_s=60)


class BodyPipeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[str] = []
        self.pipe = self.make(LIMITS)

    def make(self, limits: StreamLimits) -> BodyPipe:
        pipe = BodyPipe(self.clock, limits, lambda: self.events.append("abort"))
        pipe.attach(self)
        return pipe

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")

    def read(self) -> "Deferred[bytes]":
        return Deferred.fromCoroutine(self.pipe.read())

    def assert_over(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pieces_come_in_order_and_then_nothing(self) -> None:
        first = self.read()
        self.assertNoResult(first)
        self.pipe.receive(b"a")
        self.assertEqual(self.successResultOf(first), b"a")
        self.pipe.receive(b"b")
        self.pipe.receive(b"c")
        self.pipe.end()
        self.assertEqual(self.successResultOf(self.read()), b"bc")
        self.assertEqual(self.successResultOf(self.read()), b"")
        self.assertEqual(self.events, [])
        self.assert_over()

    def test_sender_pauses_while_nobody_reads(self) -> None:
        self.pipe.receive(b"x" * (FULL_BYTES - 1))
        self.assertEqual(self.events, [])
        self.pipe.receive(b"x")
        self.assertEqual(self.events, ["pause"])
        self.assertEqual(len(self.successResultOf(self.read())), FULL_BYTES)
        self.assertEqual(self.events, ["pause", "resume"])
        self.pipe.end()

    def test_what_came_before_a_break_is_read_before_it_is_told(self) -> None:
        self.pipe.receive(b"a")
        self.pipe.end(TransportError("broken"))
        self.assertEqual(self.successResultOf(self.read()), b"a")
        self.failureResultOf(self.read(), TransportError)
        self.failureResultOf(self.read(), TransportError)
        self.assert_over()

    def test_body_that_is_too_large_ends_the_connection(self) -> None:
        self.pipe = self.make(StreamLimits(5, 10))
        self.pipe.receive(b"x" * 10)
        self.successResultOf(self.read())
        self.pipe.receive(b"x")
        self.failureResultOf(self.read(), AnswerTooLarge)
        self.pipe.receive(b"x")
        self.assertEqual(self.events, ["abort"])

    def test_body_that_drips_ends_the_connection(self) -> None:
        waiting = self.read()
        self.clock.advance(9)
        self.pipe.receive(b"x" * 500)
        self.successResultOf(waiting)
        waiting = self.read()
        self.clock.advance(5.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.failureResultOf(waiting, TransportError)
        self.assertEqual(self.events, ["abort"])
        self.assert_over()

    def test_pause_that_we_make_does_not_count(self) -> None:
        self.pipe.receive(b"x" * FULL_BYTES)
        for _ in range(100):
            self.clock.advance(1)
        self.assertEqual(self.events, ["pause"])
        self.assertEqual(len(self.successResultOf(self.read())), FULL_BYTES)
        waiting = self.read()
        self.clock.advance(59)
        self.assertNoResult(waiting)
        self.clock.advance(2)
        self.failureResultOf(waiting, TransportError)
        self.assert_over()

    def test_body_has_an_end_however_quick_it_comes(self) -> None:
        for _ in range(59):
            self.pipe.receive(b"x" * 1000)
            self.successResultOf(self.read())
            self.clock.advance(1)
        self.assertEqual(self.events, [])
        waiting = self.read()
        self.clock.advance(1.1)
        self.failureResultOf(waiting, TransportError)
        self.assert_over()

    def test_closing_ends_the_connection_only_if_something_is_to_come(self) -> None:
        self.pipe.end()
        self.pipe.close()
        self.assertEqual(self.events, [])
        self.pipe = self.make(LIMITS)
        self.pipe.receive(b"x")
        self.pipe.close()
        self.pipe.close()
        self.assertEqual(self.events, ["abort"])
        self.failureResultOf(self.read(), TransportError)
        self.assert_over()

    def test_reader_may_give_up(self) -> None:
        waiting = self.read()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.pipe.receive(b"x")
        self.pipe.close()
        self.assertEqual(self.events, ["abort"])
        self.assert_over()
