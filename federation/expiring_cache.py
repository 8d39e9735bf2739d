"""What was found out about others and holds for a while: a bounded map whose entries expire."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ExpiringCache(Generic[K, V]):
    """The `size` entries used last. Times are milliseconds since 1970."""

    def __init__(self, size: int, now_ms: Callable[[], int]) -> None:
        self._size = size
        self._now_ms = now_ms
        self._entries: OrderedDict[K, tuple[int, V]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def find(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._now_ms():
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: K, value: V, expires_at_ms: int) -> None:
        self._entries[key] = (expires_at_ms, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
