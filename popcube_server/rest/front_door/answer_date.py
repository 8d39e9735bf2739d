"""The time of day as answers tell it."""

from collections.abc import Callable

from twisted.web.http import datetimeToString


class AnswerDate:
    """Written out once a second: each answer has it."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s`: since 1970."""
        self._now_s = now_s
        self._second = -1
        self._text = b""

    def text(self) -> bytes:
        second = int(self._now_s())
        if second != self._second:
            self._text = datetimeToString(second)
            self._second = second
        return self._text
