"""The hybrid logical clock: time in milliseconds, with a counter that keeps it moving forward.

As one integer of 62 bits, 44 of milliseconds and 18 of counter, so that clocks compare as numbers.
"""

from collections.abc import Callable
from typing import Final

COUNTER_BITS: Final = 18


class HybridClock:
    """Never gives the same clock twice, nor one below any that it has seen."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, self._now_ms() << COUNTER_BITS)
        return self._last

    def observe(self, clock: int) -> None:
        """Another site wrote at this clock: what is written here from now on comes after it."""
        self._last = max(self._last, clock)
