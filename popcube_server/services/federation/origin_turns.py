"""How much one server may ask at a time: `rc_federation`, and the memory that its requests take.

As in Synapse: of the requests of a window beyond `sleep_limit` each waits `sleep_delay` first; `concurrent` are worked
on at the same time and `reject_limit` may wait; what is more is refused.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from popcube_server.services.errors import LimitExceeded
from popcube_server.services.federation.fair_shares import FairShares, ShareLimits
from popcube_server.services.platform import Platform
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import FederationRateLimits

MAX_ORIGINS = 20_000
"""Servers that are remembered although they ask nothing at the moment."""
_MB = 1024 * 1024
BODIES = ShareLimits(total=256 * _MB, most=64 * _MB, least=16 * _MB)
"""Bytes of the bodies that wait or are worked on, by server."""
OF_SITES: Final = FederationRateLimits(
    window_size_ms=1000, sleep_limit=10_000, sleep_delay_ms=0, reject_limit=500, concurrent=50
)
"""For the other sites: `rc_federation` is for strangers, and its pauses would hold up every message."""


class RefusalObserver(Protocol):
    """Counts (metrics)."""

    def refused(self, limit: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Origin:
    began_s: deque[float]
    """When the newest requests came; full if the window may be."""
    waiting: int = 0
    under_way: int = 0
    queue: deque["Deferred[None]"] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.under_way


class OriginTurns:
    """Turns of servers whose signatures were verified: nobody can use up another's."""

    def __init__(self, limits: FederationRateLimits, platform: Platform, observer: RefusalObserver) -> None:
        self._limits = limits
        self._platform = platform
        self._observer = observer
        self._origins: OrderedDict[str, _Origin] = OrderedDict()
        self._bodies = FairShares(BODIES)

    @property
    def under_way(self) -> int:
        """Requests that are worked on."""
        return sum(origin.under_way for origin in self._origins.values())

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(origin.waiting for origin in self._origins.values())

    @asynccontextmanager
    async def turn(self, name: str, body_bytes: int) -> AsyncIterator[None]:
        """The block is entered when it is the server's turn. Raises `LimitExceeded`."""
        origin = self._get(name)
        if origin.waiting >= self._limits.reject_limit:
            raise self._refusal("waiting requests")
        if not self._bodies.has_room(name, body_bytes):
            raise self._refusal("bytes")
        self._bodies.take(name, body_bytes)
        try:
            await self._wait(origin)
            try:
                yield
            finally:
                self._end(origin)
        finally:
            self._bodies.give_back(name, body_bytes)

    def _refusal(self, limit: str) -> LimitExceeded:
        self._observer.refused(limit)
        return LimitExceeded("Your server asks too much at a time.", self._limits.window_size_ms)

    def _get(self, name: str) -> _Origin:
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = _Origin(deque(maxlen=self._limits.sleep_limit + 1))
        self._origins.move_to_end(name)
        if len(self._origins) > MAX_ORIGINS:
            self._drop_idle()
        return origin

    def _drop_idle(self) -> None:
        for name, origin in self._origins.items():
            if origin.is_idle:
                del self._origins[name]
                return

    async def _wait(self, origin: _Origin) -> None:
        now_s = self._platform.now_s()
        origin.began_s.append(now_s)
        is_full = len(origin.began_s) > self._limits.sleep_limit
        origin.waiting += 1
        try:
            if is_full and now_s - origin.began_s[0] < self._limits.window_size_ms / 1000:
                await self._platform.sleep(self._limits.sleep_delay_ms / 1000)
            if origin.under_way >= self._limits.concurrent:
                turn: Deferred[None] = Deferred(origin.queue.remove)
                origin.queue.append(turn)
                await turn
            else:
                origin.under_way += 1
        finally:
            origin.waiting -= 1

    def _end(self, origin: _Origin) -> None:
        if origin.queue:
            # The turn is handed on: nobody gets in between.
            origin.queue.popleft().callback(None)
        else:
            origin.under_way -= 1
