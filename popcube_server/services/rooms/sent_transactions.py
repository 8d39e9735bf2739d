"""Which request sent an event: told to the sending device only, so that it finds its local echo.

Source: client-server API, `unsigned.transaction_id` of events.
"""

from collections.abc import Sequence

from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.events import StoreEvent
from storage.log import Log

SIZE = 20_000


class SentTransactions:
    """The transaction IDs of the newest events sent here, from the log. Nothing of it outlives the process."""

    def __init__(self, log: Log) -> None:
        self._sent: BoundedCache[str, tuple[str, str]] = BoundedCache(SIZE)
        log.follow(self._follow)

    def find(self, event_id: str, scope: str) -> str | None:
        """The transaction ID, if this device sent the event."""
        sent = self._sent.peek(event_id)
        return None if sent is None or sent[0] != scope else sent[1]

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            change = entry.change
            if isinstance(change, StoreEvent) and change.sent_by is not None:
                self._sent.put(change.event_id, change.sent_by)
