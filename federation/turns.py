"""Taking turns: how much is done at the same time, and how many may wait for it."""

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import field
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from synapse_like_config.lazy_dataclasses import dataclass

T = TypeVar("T")


class Busy(Exception):
    """More is waiting already than may wait."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """`at_once` under way, `waiting` behind them, and no more than `per_minute` begun."""

    at_once: int
    waiting: int
    per_minute: int


class BoundedTurns:
    """Work for whoever asks: what is too much is not done at all."""

    def __init__(self, limits: TurnLimits, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self._under_way = 0
        self._queue: deque[Deferred[None]] = deque()
        self._minute = -1
        self._begun = 0

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises `Busy`, and then nothing was begun."""
        minute = self._now_ms() // 60_000
        if minute != self._minute:
            self._minute, self._begun = minute, 0
        if len(self._queue) >= self._limits.waiting or self._begun >= self._limits.per_minute:
            raise Busy
        self._begun += 1
        if self._under_way >= self._limits.at_once:
            turn: Deferred[None] = Deferred(self._queue.remove)
            self._queue.append(turn)
            await turn
        else:
            self._under_way += 1
        try:
            return await work()
        finally:
            if self._queue:
                # The turn is handed on: nobody gets in between.
                self._queue.popleft().callback(None)
            else:
                self._under_way -= 1


@dataclass(slots=True, eq=False)
class _Holder:
    under_way: int = 0
    queue: deque["Deferred[None]"] = field(default_factory=deque)
    is_ready: bool = False


class FairTurns:
    """Work for many: `total` at once, of each at most `each`; those who wait are served in turn.

    How many wait is the caller's affair.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._under_way = 0
        self._holders: dict[str, _Holder] = {}
        self._ready: deque[_Holder] = deque()

    async def run(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        holder = self._holders.setdefault(name, _Holder())
        try:
            if self._under_way >= self._total or holder.under_way >= self._each:
                turn: Deferred[None] = Deferred(holder.queue.remove)
                holder.queue.append(turn)
                self._offer(holder)
                await turn
            else:
                self._begin(holder)
            try:
                return await work()
            finally:
                holder.under_way -= 1
                self._under_way -= 1
                self._offer(holder)
                self._next()
        finally:
            if not holder.under_way and not holder.queue and self._holders.get(name) is holder:
                del self._holders[name]

    def _begin(self, holder: _Holder) -> None:
        holder.under_way += 1
        self._under_way += 1

    def _offer(self, holder: _Holder) -> None:
        if holder.queue and holder.under_way < self._each and not holder.is_ready:
            holder.is_ready = True
            self._ready.append(holder)

    def _next(self) -> None:
        while self._ready and self._under_way < self._total:
            holder = self._ready.popleft()
            holder.is_ready = False
            # Who waited may have given up.
            if holder.queue:
                self._begin(holder)
                turn = holder.queue.popleft()
                self._offer(holder)
                turn.callback(None)
