"""How much this server asks of others because somebody wants to know: bounds by asker, by server, and in all."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from popcube_server.services.errors import LimitExceeded
from popcube_server.services.rate_limits import RateLimiter
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import RateLimit

T = TypeVar("T")

PER_ASKER: Final = RateLimit(per_second=5, burst_count=200)
PER_SERVER: Final = RateLimit(per_second=20, burst_count=400)
UNDER_WAY_PER_ASKER: Final = 50
UNDER_WAY_PER_SERVER: Final = 100
UNDER_WAY: Final = 1_000
RETRY_AFTER_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """`asker` is a user ID, or the address of somebody without an account; `server` is who is asked."""

    asker: str
    server: str


class QuestionLimits:
    """Counts the questions of all kinds. What was asked lately and is remembered is no question."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._askers = RateLimiter(PER_ASKER, now_s)
        self._servers = RateLimiter(PER_SERVER, now_s)
        self._by_asker: Counter[str] = Counter()
        self._by_server: Counter[str] = Counter()

    async def run(self, question: Question, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer. Raises `LimitExceeded` without asking."""
        with self._under_way(question):
            return await ask()

    @contextmanager
    def _under_way(self, question: Question) -> Iterator[None]:
        self._check(question)
        self._askers.check(question.asker)
        self._servers.spend(question.server)
        self._askers.spend(question.asker)
        self._by_asker[question.asker] += 1
        self._by_server[question.server] += 1
        try:
            yield
        finally:
            _take_one(self._by_asker, question.asker)
            _take_one(self._by_server, question.server)

    def _check(self, question: Question) -> None:
        if (
            self._by_asker[question.asker] >= UNDER_WAY_PER_ASKER
            or self._by_server[question.server] >= UNDER_WAY_PER_SERVER
            or self._by_server.total() >= UNDER_WAY
        ):
            raise LimitExceeded("Too many questions to other servers are under way.", RETRY_AFTER_MS)


def _take_one(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
