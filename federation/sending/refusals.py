"""How long a server is left alone that answers and does not take what it is sent."""

from collections.abc import Callable
from typing import Final

from federation.transport.errors import FederationError, HttpRefusal
from synapse_like_config.federation import FederationRetries

FIRST_PAUSE_MS: Final = 60_000
MALFORMED: Final = (400, 413)
"""What it says of a transaction that it will never take."""
BROKEN: Final = 500
"""It may be this very transaction that it cannot deal with."""


class Refusals:
    """The next pause is a multiple of the one before, up to the longest. `random` gives numbers from 0 up to 1."""

    def __init__(self, retries: FederationRetries, random: Callable[[], float]) -> None:
        self._retries = retries
        self._random = random

    def next_pause_ms(self, last_ms: int, error: FederationError) -> int:
        """`last_ms` is 0 if it took the transaction before."""
        pause_ms = FIRST_PAUSE_MS
        if last_ms:
            # Some sooner and some later, so that those who were refused together do not come back together.
            pause_ms = int(
                last_ms * self._retries.destination_retry_multiplier * (0.9 + 0.2 * self._random())
            )
        if isinstance(error, HttpRefusal) and error.retry_after_ms is not None:
            pause_ms = max(pause_ms, error.retry_after_ms)
        return max(FIRST_PAUSE_MS, min(pause_ms, self._retries.destination_max_retry_interval_ms))


def is_poison(error: FederationError) -> bool:
    """Whether the reason may be what is in the transaction, not who sends it or when."""
    return isinstance(error, HttpRefusal) and error.status in (*MALFORMED, BROKEN)


def is_final(error: FederationError) -> bool:
    """Whether it would be the same the next time."""
    return isinstance(error, HttpRefusal) and error.status in MALFORMED
