"""Threads that do what would keep the reactor waiting, and bring it the results.

Twisted's own pool does the same with a queue of Python code, several locks and a context for each piece of work: more
processor time than a small query of the database takes.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, current_thread
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
        self._is_stopping = False
        self._at_rest: list[Deferred[None]] = []

    @property
    def name(self) -> str:
        return self._name

    def run(self, function: Callable[[], T]) -> "Deferred[T]":
        """What the function returns or raises. Work begins in the order in which it was given.

        Once this is stopping nothing begins any more, and there is no answer: whoever asks was cut off.
        """
        result: Deferred[T] = Deferred()
        if self._is_stopping:
            return result
        self._work.put((function, result))
        self._unfinished += 1
        if self._growing is None:
            self._grow()
        return result

    def _grow(self) -> None:
        self._growing = None
        if len(self._threads) < min(self._unfinished, self._limit):
            # One that hangs must not keep the process from ending.
            thread = Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)
            self._growing = self._reactor.callLater(GROW_S, self._grow)

    async def stop(self) -> None:
        """Returns once all that was given is done and no thread is left. If one hangs, that is never."""
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None
        if not self._is_stopping:
            self._is_stopping = True
            for _ in self._threads:
                self._work.put(None)
        if self._threads:
            at_rest: Deferred[None] = Deferred()
            self._at_rest.append(at_rest)
            await at_rest

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
        self._reactor.callFromThread(self._ended, current_thread())

    def _ended(self, thread: Thread) -> None:
        # Telling so was the last that it did.
        thread.join()
        self._threads.remove(thread)
        if not self._threads:
            at_rest, self._at_rest = self._at_rest, []
            for waiting in at_rest:
                waiting.callback(None)

    def _deliver(self, result: "Deferred[Any]", outcome: Any) -> None:
        self._unfinished -= 1
        result.callback(outcome)
