"""Several who want the same thing at the same time share one piece of work."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K")
T = TypeVar("T")


class Coalescing(Generic[K, T]):
    """At most one run per key. The work must bound its own time: it goes on when those who wait for it give up."""

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[T]]] = {}

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the run under way for this key, or of a new one."""
        mine: Deferred[T] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(mine)
        else:
            self._waiting[key] = [mine]
            Deferred.fromCoroutine(work()).addBoth(self._finish, key)
        return await mine

    def _finish(self, result: T | Failure, key: K) -> None:
        for deferred in self._waiting.pop(key):
            # One who gave up was called already, by being cancelled.
            if not deferred.called:
                if isinstance(result, Failure):
                    deferred.errback(Failure(result.value))
                else:
                    deferred.callback(result)
