"""Threads that work for the reactor."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.work_threads import GROW_S, WorkThreads

TIMEOUT_S = 30.0


class Reactor(Clock):
    """As much of one as threads see."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()

    def callFromThread(self, function: Callable[..., None], *arguments: Any) -> None:
        self._calls.put(lambda: function(*arguments))

    def step(self) -> None:
        self._calls.get(timeout=TIMEOUT_S)()


class WorkThreadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.threads = WorkThreads(self.reactor, "test", 2)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        stopping = Deferred.fromCoroutine(self.threads.stop())
        while not stopping.called:
            self.reactor.step()

    def alive(self) -> int:
        return sum(thread.name.startswith("test-") for thread in threading.enumerate())

    def test_result_comes_back_on_the_reactor(self) -> None:
        result = self.threads.run(threading.get_ident)
        self.assertNoResult(result)
        self.reactor.step()
        self.assertNotEqual(self.successResultOf(result), threading.get_ident())

    def test_what_is_raised_comes_back_and_the_thread_goes_on(self) -> None:
        for _ in range(3):
            result = self.threads.run(lambda: int("x"))
            self.reactor.step()
            self.failureResultOf(result, ValueError)

    def test_work_waits_when_all_threads_are_at_work(self) -> None:
        started: queue.Queue[int] = queue.Queue()
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        def work(number: int) -> int:
            started.put(number)
            go_on.wait(TIMEOUT_S)
            return number

        results = [self.threads.run(lambda number=number: work(number)) for number in range(3)]  # type: ignore[misc]
        self.assertEqual(started.get(timeout=TIMEOUT_S), 0)
        # The second thread comes a little later, and there is no third.
        self.assertEqual(self.alive(), 1)
        self.reactor.advance(GROW_S)
        self.assertEqual(started.get(timeout=TIMEOUT_S), 1)
        self.reactor.pump([GROW_S] * 5)
        self.assertEqual(self.alive(), 2)
        go_on.set()
        for _ in results:
            self.reactor.step()
        self.assertEqual([self.successResultOf(result) for result in results], [0, 1, 2])

    def test_what_one_thread_does_soon_needs_no_second_one(self) -> None:
        results = [self.threads.run(threading.get_ident) for _ in range(20)]
        for _ in results:
            self.reactor.step()
        self.reactor.pump([GROW_S] * 5)
        self.assertEqual(1, len({self.successResultOf(result) for result in results}))
        self.assertEqual(self.alive(), 1)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_stopping_waits_for_what_was_given(self) -> None:
        done: list[int] = []
        for number in range(50):
            self.threads.run(lambda number=number: done.append(number))  # type: ignore[misc]
        self.stop()
        self.assertEqual(sorted(done), list(range(50)))
        self.assertEqual(self.alive(), 0)

    def test_stopping_is_over_only_when_no_thread_is_at_work(self) -> None:
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        result = self.threads.run(lambda: go_on.wait(TIMEOUT_S))
        stopping = Deferred.fromCoroutine(self.threads.stop())
        self.assertNoResult(stopping)
        go_on.set()
        self.reactor.step()
        self.assertTrue(self.successResultOf(result))
        self.assertNoResult(stopping)
        self.reactor.step()
        self.successResultOf(stopping)

    def test_nothing_begins_after_the_end(self) -> None:
        self.threads.run(int)
        self.stop()
        self.assertNoResult(self.threads.run(int))
        self.assertEqual(self.alive(), 0)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_thread_that_hangs_does_not_keep_the_process(self) -> None:
        result = self.threads.run(lambda: threading.current_thread().daemon)
        self.reactor.step()
        self.assertTrue(self.successResultOf(result))

    def test_nobody_may_want_the_result_any_more(self) -> None:
        result = self.threads.run(int)
        result.cancel()
        self.reactor.step()
        self.failureResultOf(result, CancelledError)
