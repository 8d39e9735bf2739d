"""Threads that do what would keep the reactor waiting, and bring it the results.

Twisted's own pool does the same with a queue of Python code, several locks and a context for each piece of work: more
processor time than a small query of the database takes.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

GROW_S = 0.05
"""How long after one thread the next is made at the earliest. Each will open a connection to the database, which takes
as long as dozens of small queries: those that come all at once, as at a start, are answered sooner by few threads."""


class WorkThreads:
    """So many threads at most; each is made when all the others have been at work for `GROW_S` or longer.

    Used from the reactor's thread.
    """

    def __init__(self, reactor: Any, name: str, limit: int) -> None:
        self._reactor = reactor
        self._name = name
        self._limit = limit
        self._threads: list[Thread] = []
        self._unfinished = 0
        self._growing: Any = None
        """IDelayedCall: the look whether one thread more is needed."""
        self._work: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()

    def run(self, function: Callable[[], T]) -> "Deferred[T]":
        """What the function returns or raises. Work begins in the order in which it was given."""
        result: Deferred[T] = Deferred()
        self._work.put((function, result))
        self._unfinished += 1
        if self._growing is None:
            self._grow()
        return result

    def _grow(self) -> None:
        self._growing = None
        if len(self._threads) < min(self._unfinished, self._limit):
            thread = Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}")
            thread.start()
            self._threads.append(thread)
            self._growing = self._reactor.callLater(GROW_S, self._grow)

    def stop(self) -> None:
        """Wait until all that was given is done; nothing may be given afterwards."""
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (given := self._work.get()) is not None:
            function, result = given
            try:
                outcome = function()
            except BaseException:  # noqa: BLE001 - it goes to whoever asked
                outcome = Failure()
            self._reactor.callFromThread(self._deliver, result, outcome)
            # While the thread waits for more, it must not keep alive what it has given away.
            del given, function, result, outcome

    def _deliver(self, result: "Deferred[Any]", outcome: Any) -> None:
        self._unfinished -= 1
        result.callback(outcome)
