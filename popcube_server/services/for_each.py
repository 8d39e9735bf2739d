"""The same work for many things, a few of them at a time."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredList

T = TypeVar("T")


async def for_each(items: Iterable[T], at_once: int, work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` with each item, at most `at_once` at the same time.

    If it raises, no further item is begun; the first error is raised once those under way have ended.
    """
    remaining = iter(items)
    errors: list[Exception] = []
    workers = [Deferred.fromCoroutine(_work_off(remaining, errors, work)) for _ in range(at_once)]
    await DeferredList(workers)
    if errors:
        raise errors[0]


async def _work_off(
    remaining: Iterator[T], errors: list[Exception], work: Callable[[T], Awaitable[None]]
) -> None:
    for item in remaining:
        try:
            await work(item)
        except Exception as error:  # noqa: BLE001
            # It belongs to the caller, who gets it when the others have ended.
            errors.append(error)
        if errors:
            return
