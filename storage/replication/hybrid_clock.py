"""The hybrid logical clock: time in milliseconds, with a counter that keeps it moving forward.

As one integer of 62 bits, 44 of milliseconds and 18 of counter, so that clocks compare as numbers.
"""

from collections.abc import Callable
from typing import Final

COUNTER_BITS: Final = 18
MAX_AHEAD_MS: Final = 10 * 60 * 1000
"""How far another site's clock may take this one along."""
MAX_CLOCK: Final = 2**63 - 2**32
"""No clock that arrives is beyond this: what is written over it has one more, and there must be room for that."""


class HybridClock:
    """Never gives the same clock twice, nor one below any that it has seen and that is not absurd."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, self._now_ms() << COUNTER_BITS)
        return self._last

    def observe(self, clock: int) -> None:
        """Another site wrote at this clock: what is written here from now on comes after it.

        Of a site whose clock is wrong by more than `MAX_AHEAD_MS` this is true of the records that it wrote, and of
        them alone (see `RecordIndex.write_own`): one wrong clock is not to become the clock of all sites.
        """
        self._last = max(self._last, min(clock, (self._now_ms() + MAX_AHEAD_MS) << COUNTER_BITS))
