"""The log's head row: where positions are taken. Its lock orders all writers of the organisation on this site."""

from typing import Final

from storage.database import WriteTransaction

_UNSURE_COMMITS: Final = 16
"""After somebody else wrote: so many commits ask where the head is before it is foreseen again."""


class LogHead:
    """Where the last commit left the head. As long as nobody else writes, it is there at the next one.

    KNOWN -> UNSURE    it was not: another process writes, too, or a commit's answer was lost
    UNSURE -> KNOWN    some commits later
    """

    def __init__(self) -> None:
        self._position: int | None = None
        self._unsure_commits = 0

    @property
    def is_known(self) -> bool:
        return self._position is not None and not self._unsure_commits

    def lock(self, tx: WriteTransaction) -> "LockedHead":
        """The head for one transaction."""
        return LockedHead(tx, self, self._position if self.is_known else None)

    def left_at(self, position: int) -> None:
        """A transaction that left it there is on disk."""
        self._position = position
        self._unsure_commits = max(0, self._unsure_commits - 1)

    def was_elsewhere(self) -> None:
        """Where it is known to be it was not."""
        self._unsure_commits = _UNSURE_COMMITS


class LockedHead:
    """Moves the head within a transaction. The first move comes before all else: it locks the row.

    Where the head is known, nothing waits for that move: it goes with the next statement, and if the head is elsewhere,
    the transaction fails with `NotNullViolation`.
    """

    def __init__(self, tx: WriteTransaction, head: LogHead, foreseen: int | None) -> None:
        self._tx = tx
        self._head = head
        self._foreseen = foreseen
        self._position: int | None = None

    def move(self, count: int) -> int:
        """Take so many positions; returns the last one, which is the head's new place."""
        if self._position is None:
            self._tx.after_commit.append(self._committed)
            self._position = self._move_first(count)
        elif count:
            self._position += count
            self._tx.later("UPDATE log_head SET position = ?", [(self._position,)])
        return self._position

    def _move_first(self, count: int) -> int:
        if self._foreseen is None or not count:
            # Without a new position, nothing would show whether a commit whose answer was lost took place.
            sql = "UPDATE log_head SET position = position + ? RETURNING position"
            position: int = self._tx.all(sql, (count,))[0][0]
            return position
        moved = self._foreseen + count
        # The column takes no NULL.
        sql = "UPDATE log_head SET position = CASE WHEN position = ? THEN ? END"
        self._tx.later(sql, [(self._foreseen, moved)])
        return moved

    def _committed(self) -> None:
        assert self._position is not None
        self._head.left_at(self._position)
