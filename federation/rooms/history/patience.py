"""Waiting for other servers, bounded in time and ended when this server stops."""

from collections.abc import Awaitable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Patience:
    """Raises `twisted.internet.defer.CancelledError` where it ends."""

    def __init__(self, clock: Any) -> None:
        """`clock` is twisted's IReactorTime."""
        self._clock = clock
        self._waiting: set[Deferred[Any]] = set()
        self.is_over = False

    async def wait(self, work: Awaitable[T], timeout_s: float) -> T:
        """What the work gives, if it comes in time."""
        waiting: Deferred[T] = Deferred.fromCoroutine(_as_coroutine(work))
        self._waiting.add(waiting)
        try:
            return await waiting.addTimeout(timeout_s, self._clock, _unchanged)
        finally:
            self._waiting.discard(waiting)

    def end(self) -> None:
        """Give up whatever is waited for."""
        self.is_over = True
        for waiting in list(self._waiting):
            waiting.cancel()


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _unchanged(failure: Any, timeout_s: float) -> Any:
    return failure
