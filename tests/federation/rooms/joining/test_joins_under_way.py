from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.rooms.joining.joins_under_way import MAX_WAIT_S, JoinsUnderWay


class JoinsUnderWayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.joins = JoinsUnderWay(self.clock)

    def wait(self, origin: str = "far.example") -> Deferred[bool]:
        return Deferred.fromCoroutine(self.joins.wait(origin))

    def test_nobody_waits_when_there_are_none(self) -> None:
        self.assertFalse(self.successResultOf(self.wait()))

    def test_all_that_were_under_way_are_waited_for_and_no_others(self) -> None:
        with self.joins.one():
            with self.joins.one():
                waiting = self.wait()
            self.assertNoResult(waiting)
            later = self.joins.one()
            self.enterContext(later)
        self.assertTrue(self.successResultOf(waiting))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failed_join_ends_the_waiting(self) -> None:
        try:
            with self.joins.one():
                waiting = self.wait()
                raise ValueError
        except ValueError:
            self.assertTrue(self.successResultOf(waiting))

    def test_slow_join_is_not_waited_for_long(self) -> None:
        with self.joins.one():
            waiting = self.wait()
            self.clock.advance(MAX_WAIT_S - 1)
            self.assertNoResult(waiting)
            self.clock.advance(1)
            self.assertTrue(self.successResultOf(waiting))

    def test_one_server_waits_for_a_join_once(self) -> None:
        with self.joins.one():
            waiting = self.wait()
            self.assertFalse(self.successResultOf(self.wait()))
            self.clock.advance(MAX_WAIT_S)
            self.assertTrue(self.successResultOf(waiting))
            self.assertFalse(self.successResultOf(self.wait()))
            other = self.wait("other.example")
            self.assertNoResult(other)
            # A join that begins later is another one.
            with self.joins.one():
                later = self.wait()
            self.assertTrue(self.successResultOf(later))
        self.assertTrue(self.successResultOf(other))
