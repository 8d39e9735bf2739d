"""Each question to another server is asked once in a while, however many want to know."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

from federation.coalescing import Coalescing
from federation.transport.errors import FederationError, HttpRefusal
from popcube_server.services.remote_queries.question_limits import Question, QuestionLimits
from synapse_like_config.lazy_dataclasses import dataclass

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FAILURE_LIFETIME_MS: Final = 10_000
"""So long a refusal counts, and a server that did not answer is not asked the same again."""
ENTRY_BYTES: Final = 500
"""What an entry is taken to need besides what was answered."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How long answers hold, and how much of them is kept in memory."""

    lifetime_ms: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    answer: V | FederationError
    expires_at_ms: int
    size_bytes: int


class RememberedAnswers(Generic[K, V]):
    """Answers to one kind of question. `weigh` says about how many bytes an answer has."""

    def __init__(
        self, memory: Memory, weigh: Callable[[V], int], limits: QuestionLimits, now_ms: Callable[[], int]
    ) -> None:
        self._memory = memory
        self._weigh = weigh
        self._limits = limits
        self._now_ms = now_ms
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._size_bytes = 0
        self._asking: Coalescing[K, V] = Coalescing()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, question: Question, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The answer, which may be some minutes old. `ask` checks what it is told.

        Raises `FederationError` as `ask` does or lately did, `LimitExceeded` without asking.
        """
        entry = self._entries.get(key)
        if entry is None or entry.expires_at_ms <= self._now_ms():
            self.misses += 1
            return await self._asking.run(key, lambda: self._ask(question, key, ask))
        self.hits += 1
        self._entries.move_to_end(key)
        if isinstance(entry.answer, FederationError):
            raise entry.answer.with_traceback(None)
        return entry.answer

    async def _ask(self, question: Question, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        try:
            answer = await self._limits.run(question, ask)
        except FederationError as error:
            if isinstance(error, HttpRefusal):
                # Who refuses says why in as many words as it likes.
                error = HttpRefusal(error.destination, error.status, {"errcode": (error.errcode or "")[:255]})
            self._keep(key, error, FAILURE_LIFETIME_MS, 0)
            raise error from None
        self._keep(key, answer, self._memory.lifetime_ms, self._weigh(answer))
        return answer

    def _keep(self, key: K, answer: V | FederationError, lifetime_ms: int, size_bytes: int) -> None:
        old = self._entries.pop(key, None)
        entry = _Entry(answer, self._now_ms() + lifetime_ms, size_bytes + ENTRY_BYTES)
        self._entries[key] = entry
        self._size_bytes += entry.size_bytes - (0 if old is None else old.size_bytes)
        while self._size_bytes > self._memory.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size_bytes -= oldest.size_bytes
