"""Who confirmed something a moment ago, and need not do so again (`ui_auth.session_timeout`)."""

from collections.abc import Callable

from popcube_server.services.bounded_cache import BoundedCache

MAX_REMEMBERED = 10_000


class RecentConfirmations:
    """By session, in memory. A `timeout_ms` of 0 asks every time."""

    def __init__(self, timeout_ms: int, now_ms: Callable[[], int]) -> None:
        self._timeout_ms = timeout_ms
        self._now_ms = now_ms
        self._confirmed: BoundedCache[str, int] = BoundedCache(MAX_REMEMBERED)

    def record(self, session_id: str) -> None:
        if self._timeout_ms > 0:
            self._confirmed.put(session_id, self._now_ms())

    def has_confirmed(self, session_id: str) -> bool:
        at_ms = self._confirmed.get(session_id)
        return at_ms is not None and self._now_ms() - at_ms < self._timeout_ms
