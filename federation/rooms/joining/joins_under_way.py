"""The joins that wait for other servers: what those say about a room may be here before the join is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, DeferredList

MAX_WAIT_S: Final = 3.0
"""A transaction of another server is answered only after this."""


class Clock(Protocol):
    """Twisted's IReactorTime."""

    def seconds(self) -> float: ...

    def callLater(self, delay_s: float, function: Any, /, *arguments: Any) -> Any: ...  # noqa: N802


class JoinsUnderWay:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[object, dict[str, Deferred[None]]] = {}
        """By join: who waits for it, or has waited."""

    @contextmanager
    def one(self) -> Iterator[None]:
        """A join is under way until its end."""
        join = object()
        self._waiting[join] = {}
        try:
            yield
        finally:
            for waiting in self._waiting.pop(join).values():
                if not waiting.called:
                    waiting.callback(None)

    async def wait(self, origin: str) -> bool:
        """Until those that are under way now have ended, but no longer than `MAX_WAIT_S`. Whether there were any.

        What comes from one server waits for one join once: else a join through a server that never answers would hold
        up each of the hundred things that the others say in a transaction.
        """
        ends: list[Deferred[None]] = []
        for waiting in self._waiting.values():
            if origin not in waiting:
                waiting[origin] = Deferred()
                ends.append(waiting[origin])
        if not ends:
            return False
        for end in ends:
            # Not an error for who waits: it looks at what is there then.
            end.addTimeout(MAX_WAIT_S, self._clock, lambda result, _: None)  # type: ignore[arg-type]
        await DeferredList(ends, consumeErrors=True)
        return True
