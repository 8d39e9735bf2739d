"""A thread runner that a test holds back, to see what happens while the database is at work."""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, execute

T = TypeVar("T")


class GatedRunner:
    """Runs work at once while it is open; while it is closed, when `step` or `open` say so.

    Work is done when it is let through: what it reads and writes is as of then.
    """

    def __init__(self) -> None:
        self._is_open = True
        self._waiting: list[Callable[[], object]] = []

    def __call__(self, function: Callable[[], T]) -> "Deferred[T]":
        if self._is_open:
            return execute(function)
        result: Deferred[T] = Deferred()
        self._waiting.append(lambda: execute(function).chainDeferred(result))
        return result

    def close(self) -> None:
        self._is_open = False

    def step(self) -> None:
        """Let the oldest piece of work through."""
        self._waiting.pop(0)()

    def open(self) -> None:
        self._is_open = True
        while self._waiting:
            self.step()


class LateRunner:
    """Does all work at once; while it is closed, results arrive only once it is opened."""

    def __init__(self) -> None:
        self._is_open = True
        self._waiting: list[Callable[[], object]] = []

    def __call__(self, function: Callable[[], T]) -> "Deferred[T]":
        done = execute(function)
        if self._is_open:
            return done
        result: Deferred[T] = Deferred()
        self._waiting.append(lambda: done.chainDeferred(result))
        return result

    def close(self) -> None:
        self._is_open = False

    def open(self) -> None:
        self._is_open = True
        while self._waiting:
            self._waiting.pop(0)()

    def take(self) -> Callable[[], object]:
        """Take the newest result away; it arrives when it is called."""
        return self._waiting.pop()
