"""Waiting for something, but not for ever."""

from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred


class Sleep(Protocol):
    async def __call__(self, delay_s: float) -> None: ...


async def within(delay_s: float, happening: "Deferred[None]", sleep: Sleep) -> bool:
    """Wait until `happening` is called back, but no longer than this; whether it was. Otherwise this calls it back."""
    in_time = [True]

    def end(_: object) -> None:
        if not happening.called:
            in_time[0] = False
            happening.callback(None)

    sleeping = Deferred.fromCoroutine(sleep(delay_s))
    sleeping.addCallbacks(end, lambda failure: failure.trap(CancelledError) and None)
    try:
        await happening
    finally:
        sleeping.cancel()
    return in_time[0]
