"""Time, chance and threads, as an argument: a server gives the real ones, a test its own."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from storage.database import ThreadRunner
from synapse_like_config.lazy_dataclasses import dataclass

T = TypeVar("T")

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTER_OF_BYTE = bytes(_LETTERS[byte % len(_LETTERS)] for byte in range(256))
# Bytes from the largest multiple of 52 on would make some letters likelier than others.
_UNFAIR_BYTES = bytes(range(256 // len(_LETTERS) * len(_LETTERS), 256))


class Timer(Protocol):
    """A call that is to come (twisted's IDelayedCall)."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...

    def reset(self, delay_s: float) -> None: ...


class Clock(Protocol):
    """Time (twisted's IReactorTime)."""

    def seconds(self) -> float: ...

    def callLater(  # noqa: N802
        self, delay_s: float, function: Callable[..., Any], /, *arguments: Any
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class Platform:
    """What the process offers to an organisation's services."""

    clock: Clock
    random_bytes: Callable[[int], bytes]
    run_in_thread: ThreadRunner
    """For work that would hold up the reactor: password hashes, images, files."""
    steady_s: Callable[[], float] | None = None
    """A clock that is never set, for durations that must be right; None: `clock` is one."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self.clock.seconds() * 1000)

    def now_s(self) -> float:
        return float(self.clock.seconds())

    def elapsed_s(self) -> float:
        """Seconds since some moment: never set, unlike the time of day."""
        return self.now_s() if self.steady_s is None else self.steady_s()

    def random(self) -> float:
        """A number from 0 up to 1."""
        return int.from_bytes(self.random_bytes(4), "big") / (1 << 32)

    def random_letters(self, length: int) -> str:
        """A secret or an identifier of ASCII letters (5.7 bits each)."""
        letters = b""
        while len(letters) < length:
            # One byte in five is unfair, so that of half as many more there are hardly ever too few.
            drawn = self.random_bytes(length + length // 2 + 4)
            letters += drawn.translate(_LETTER_OF_BYTE, _UNFAIR_BYTES)
        return letters[:length].decode()

    def call_later(self, delay_s: float, function: Callable[[], object]) -> Timer:
        """Call `function` on the reactor's thread after `delay_s`; the result can cancel it."""
        timer: Timer = self.clock.callLater(delay_s, function)
        return timer

    async def sleep(self, delay_s: float) -> None:
        """Wait; cancelling the waiting coroutine cancels the timer."""
        call: Timer
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(delay_s, waiting.callback, None)
        await waiting

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run `function` on a thread of the pool for slow work."""
        return await self.run_in_thread(function)
