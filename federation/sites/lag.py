"""How far behind a peer is, in time: how long ago the oldest entry was written that it has not confirmed."""

from collections import deque
from typing import Final

SPACING_MS: Final = 100
MAX_MARKS: Final = 1000
"""What a day's backlog costs; the longer it lasts, the wider apart marks are."""


class Lag:
    """Marks in the log: what stands at a mark's position or behind it was written at its time or later."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()
        """(position, ms), in order of both."""
        self._spacing_ms = SPACING_MS

    def wrote(self, position: int, now_ms: int) -> None:
        """The first entry of those that were written together."""
        if self._marks and now_ms - self._marks[-1][1] < self._spacing_ms:
            return
        self._marks.append((position, now_ms))
        if len(self._marks) > MAX_MARKS:
            self._spacing_ms *= 2
            self._marks = deque(mark for index, mark in enumerate(self._marks) if index % 2 == 0)

    def found(self, confirmed: int, now_ms: int) -> None:
        """The peer lacks what stands behind `confirmed`, which may have been written before this process started."""
        if not self._marks:
            self._marks.append((confirmed + 1, now_ms))

    def confirmed(self, position: int, end: int) -> None:
        """The peer has everything up to `position`; the log ends at `end`."""
        if position >= end:
            self._marks.clear()
            self._spacing_ms = SPACING_MS
            return
        # The last mark that is not behind the first entry that is missing stays.
        while len(self._marks) > 1 and self._marks[1][0] <= position + 1:
            self._marks.popleft()

    def get_ms(self, now_ms: int) -> int:
        """Not too little; too much by the distance between marks at most."""
        return max(0, now_ms - self._marks[0][1]) if self._marks else 0
