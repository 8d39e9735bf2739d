"""The one ambient value: which request a piece of work belongs to, for log lines."""

from contextvars import ContextVar
from itertools import count

request_id: ContextVar[str] = ContextVar("request_id", default="-")


class RequestIds:
    """Names for requests, in order; `beginning` tells those of one start from those of another."""

    def __init__(self, beginning: str) -> None:
        self._beginning = beginning
        self._numbers = count(1)

    def new(self) -> str:
        return f"{self._beginning}-{next(self._numbers)}"
