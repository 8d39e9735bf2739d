"""The body of a large answer on its way: taken in pieces, held to limits, never in memory as a whole."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from federation.transport.errors import AnswerTooLarge, TransportError
from synapse_like_config.lazy_dataclasses import dataclass

FULL_BYTES = 256 * 1024
"""As much as waits to be read; the other end is told to pause meanwhile."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long an answer may take to begin and to end, how slow it may be, and how large."""

    head_timeout_s: float
    max_bytes: int
    start_s: float = 30.0
    """How long the body may come slower than `min_bytes_per_s`."""
    min_bytes_per_s: float = 8 * 1024.0
    """On average, once `start_s` are over: what drips holds a place that others wait for."""
    total_s: float = 600.0


class Producer(Protocol):
    """Where the body comes from (twisted's IPushProducer)."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


class BodyPipe:
    """Between the connection, which pushes, and one reader, who pulls. The reader closes it."""

    def __init__(self, clock: Any, limits: StreamLimits, abort: Callable[[], None]) -> None:
        """`clock` is twisted's IReactorTime; `abort` ends the connection."""
        self._clock = clock
        self._limits = limits
        self._abort = abort
        self._producer: Producer | None = None
        self._paused_since_s: float | None = None
        self._paused_s = 0.0
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._received_bytes = 0
        self._error: Exception | None = None
        self._is_ended = False
        self._reader: Deferred[None] | None = None
        self._started_s: float = clock.seconds()
        self._timer: Any = clock.callLater(limits.start_s, self._check_time)

    # For the connection

    def attach(self, producer: Producer) -> None:
        """What is to be paused while nobody reads."""
        self._producer = producer

    def receive(self, data: bytes) -> None:
        """A piece of the body came."""
        if self._is_ended:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self._limits.max_bytes:
            self._give_up(AnswerTooLarge("the answer is too large"))
            return
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= FULL_BYTES and self._producer is not None:
            # Said again with each piece: twisted lets go of a first pause when it has handed over what came early.
            if self._paused_since_s is None:
                self._paused_since_s = self._clock.seconds()
            self._producer.pauseProducing()
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes: all is there, or it broke off with an error."""
        if self._is_ended:
            return
        self._is_ended = True
        self._error = error
        self._stop_timer()
        self._wake()

    # For the reader

    async def read(self) -> bytes:
        """The next piece; nothing at the end. Raises `TransportError` or `AnswerTooLarge`."""
        while not self._pieces and not self._is_ended:
            self._reader = Deferred()
            await self._reader
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._waiting_bytes = 0
            self._resume()
            return data
        if self._error is not None:
            raise self._error
        return b""

    def close(self) -> None:
        """No more is wanted. Ends the connection unless the body has come to its end."""
        self._pieces.clear()
        if not self._is_ended:
            self._give_up(TransportError("the rest was not wanted"))

    def _resume(self) -> None:
        if self._paused_since_s is not None and self._producer is not None and not self._is_ended:
            self._paused_s += self._clock.seconds() - self._paused_since_s
            self._paused_since_s = None
            self._producer.resumeProducing()

    def _give_up(self, error: Exception) -> None:
        self.end(error)
        self._abort()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        # One who gave up was called already, by being cancelled.
        if reader is not None and not reader.called:
            reader.callback(None)

    def _check_time(self) -> None:
        limits = self._limits
        allowed_s = min(limits.start_s + self._received_bytes / limits.min_bytes_per_s, limits.total_s)
        now_s = self._clock.seconds()
        # The other end is not slow while it is told to pause.
        paused_s = self._paused_s + (0.0 if self._paused_since_s is None else now_s - self._paused_since_s)
        left_s = self._started_s + allowed_s + paused_s - now_s
        # A float's error must not make a timer that ends at once, again and again.
        if left_s <= 0.001:
            self._timer = None
            self._give_up(TransportError("the answer comes too slowly"))
            return
        self._timer = self._clock.callLater(left_s, self._check_time)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose body is still to be read. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    length_bytes: int | None
    """How long the body is going to be, if the answer says so."""
    body: BodyPipe
