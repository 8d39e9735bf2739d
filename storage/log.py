"""The log: the organisation's one ordered stream of committed changes on this site.

Live followers are called with each commit's entries, in order. A follower that starts behind reads the table.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import orjson

from storage.change import LogEntry
from storage.database import Transaction

logger = logging.getLogger(__name__)

Follower = Callable[[Sequence[LogEntry]], None]


class Log:
    """The position reached, the newest entries in memory, and who follows."""

    def __init__(self, tail_size: int) -> None:
        self._tail: deque[LogEntry] = deque(maxlen=tail_size)
        self._followers: list[Follower] = []
        self.position = 0

    def start_at(self, position: int) -> None:
        """Begin after the position that the database has reached."""
        self.position = position
        self._tail.clear()

    def follow(self, follower: Follower) -> None:
        """Call `follower` with each later commit's entries. It must not raise, block or wait."""
        self._followers.append(follower)

    def unfollow(self, follower: Follower) -> None:
        self._followers.remove(follower)

    def publish(self, entries: Sequence[LogEntry]) -> None:
        """Make a commit visible: called by the committer alone, in the order of positions."""
        if entries[0].position != self.position + 1:
            # Somebody else wrote in between: memory has a gap, and only the table knows what is in it.
            self._tail.clear()
        self._tail.extend(
            entry
            if entry.change is None or entry.change.is_remembered
            else LogEntry(entry.position, entry.kind, entry.key, None)
            for entry in entries
        )
        self.position = entries[-1].position
        for follower in tuple(self._followers):
            try:
                follower(entries)
            except Exception:
                # What was committed is told to the others all the same, and the committer goes on: one mistake is
                # not to end every write.
                logger.critical(
                    "A follower of the log failed on positions up to %d", self.position, exc_info=True
                )

    def since(self, position: int) -> list[LogEntry] | None:
        """The entries after `position`, or None if memory does not reach back that far."""
        if position >= self.position:
            return []
        if not self._tail or self._tail[0].position > position + 1:
            return None
        # Positions have no gaps, so the wanted entries are the last `self.position - position` of the tail.
        count = min(self.position - position, len(self._tail))
        # From its end: the wanted ones are few, and the tail is long.
        newest_first = list(islice(reversed(self._tail), count))
        newest_first.reverse()
        return newest_first


class LogRepository:
    """The log's table, for followers with a durable cursor."""

    def get_position(self, tx: Transaction) -> int:
        position: int = tx.value("SELECT position FROM log_head")
        return position

    def read_after(self, tx: Transaction, position: int, limit: int) -> list[LogEntry]:
        rows = tx.all(
            "SELECT position, kind, entry_key FROM log WHERE position > ? ORDER BY position LIMIT ?",
            (position, limit),
        )
        kinds = tx.names_of(row[1] for row in rows)
        return [LogEntry(row[0], kinds[row[1]], tuple(orjson.loads(row[2])), None) for row in rows]
