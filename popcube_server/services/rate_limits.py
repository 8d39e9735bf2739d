"""How often is too often: token buckets by key, bounded in number."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from popcube_server.services.errors import LimitExceeded
from synapse_like_config.ratelimits import RateLimit

MAX_KEYS = 20_000
# What a client is told to wait if the bucket never fills.
NEVER_MS = 3_600_000


class RateLimiter:
    """One limit. Each key has a bucket of `burst_count` that fills at `per_second`.

    Of more than `max_keys` keys, the one used longest ago is forgotten: it has had the most time to fill.
    """

    def __init__(self, limit: RateLimit, now_s: Callable[[], float], max_keys: int = MAX_KEYS) -> None:
        self._per_second = limit.per_second
        self._burst = limit.burst_count
        self._now_s = now_s
        self._max_keys = max_keys
        # Per key: how much is in use, and when that was so.
        self._used: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def spend(self, key: Hashable, amount: float = 1) -> None:
        """Take from the key's bucket. Raises `LimitExceeded`, and takes nothing, if there is too little in it."""
        now_s = self._now_s()
        used = self._used_now(key, now_s)
        self._check(used, amount)
        self._used[key] = (used + amount, now_s)
        self._used.move_to_end(key)
        if len(self._used) > self._max_keys:
            self._used.popitem(last=False)

    def check(self, key: Hashable, amount: float = 1) -> None:
        """Raise `LimitExceeded` if `spend` would; take nothing."""
        self._check(self._used_now(key, self._now_s()), amount)

    def give_back(self, key: Hashable, amount: float = 1) -> None:
        """Undo a `spend` whose reason turned out not to count."""
        if key in self._used:
            used, at_s = self._used[key]
            self._used[key] = (max(0.0, used - amount), at_s)

    def _used_now(self, key: Hashable, now_s: float) -> float:
        used, at_s = self._used.get(key, (0.0, now_s))
        return max(0.0, used - (now_s - at_s) * self._per_second)

    def _check(self, used: float, amount: float) -> None:
        excess = used + amount - self._burst
        # A float's error must not keep out who waited as long as was asked for.
        if excess <= 1e-6:
            return
        retry_after_ms = NEVER_MS if self._per_second == 0 else int(excess / self._per_second * 1000) + 1
        raise LimitExceeded("Too many requests.", retry_after_ms)
