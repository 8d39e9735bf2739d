"""What waits for one destination: places in the log, not events.

States: idle -> sending -> idle; sending -> catching up -> sending, if more waits than a queue holds; sending -> paused
-> sending, after an error of this server's own; sending -> backing off, and then it has no queue but is parked, ->
catching up -> sending.
"""

from collections.abc import Callable, Collection
from dataclasses import field
from enum import Enum
from typing import Any, Final, Protocol

from storage.device_list_updates import CROSS_SIGNING
from storage.presence import SetPresence
from storage.receipts import StoreReceipt
from synapse_like_config.lazy_dataclasses import dataclass

MAX_PASSING: Final = 500
"""Of more, the oldest are dropped."""
MAX_DEVICES: Final = 500


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many events wait in memory; with more, a destination is brought up to date instead of being sent all."""

    one: int = 5_000
    """For one destination."""
    few: int = 200
    """For one destination, if `together` is reached. Until then who is merely slow gets everything."""
    together: int = 500_000
    """For all destinations; each event counts for each of them, although all share it."""


class State(Enum):
    IDLE = "nothing waits"
    SENDING = "a transaction is under way"
    PAUSED = "something went wrong here"
    BACKING_OFF = "the server did not answer"
    CATCHING_UP = "is being sent the latest of what it missed"
    STOPPED = "stopped"


class Timer(Protocol):
    """Twisted's IDelayedCall."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class Clock(Protocol):
    """Twisted's IReactorTime."""

    def seconds(self) -> float: ...

    def callLater(  # noqa: N802
        self, delay_s: float, function: Callable[..., Any], /, *arguments: Any
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event to send: shared by the queues of all destinations."""

    position: int
    room_id: str
    event_id: str
    times_overlooked: int = 0
    """How often the destination said nothing of it in its answer."""


@dataclass(frozen=True, slots=True)
class TypingEdu:
    """A typing EDU: worth nothing a minute later."""

    json: bytes


@dataclass(frozen=True, slots=True)
class Passing:
    """What is told while it is so. Of one key only the newest is sent; shared by the queues of all destinations."""

    key: tuple[str, ...]
    position: int | None
    """None if it need not outlive this process."""
    news: TypingEdu | StoreReceipt | SetPresence


@dataclass(slots=True)
class DestinationQueue:
    """A destination that is neither idle nor parked. Small: there can be thousands."""

    destination: str
    state: State = State.IDLE
    events: list[QueuedEvent] = field(default_factory=list)
    passing: dict[tuple[str, ...], Passing] = field(default_factory=dict)
    devices: dict[tuple[str, str], int] = field(default_factory=dict)
    """(user, device) whose keys changed, with the position."""
    heads: dict[str, int | None] = field(default_factory=dict)
    """Of users in `devices`: the `stream_id` that the destination was sent before all of these."""
    has_messages: bool = False
    """Whether messages to devices may be waiting in the database."""
    is_behind: bool = False
    """Whether the database knows of something that it misses."""
    is_careful: bool = False
    """Whether things are sent one by one, because a transaction was refused."""
    limit: int = 0
    """While it is careful: how many things go into the next transaction."""
    pause_ms: int = 0
    """How long it was left alone when it last refused something; 0 after a success."""
    floor: int | None = None
    """The oldest position that is under way, or is being written down as missed."""
    timer: Timer | None = None

    def add_passing(self, passing: Passing) -> None:
        self.passing.pop(passing.key, None)
        self.passing[passing.key] = passing
        if len(self.passing) > MAX_PASSING:
            del self.passing[next(iter(self.passing))]

    def add_device(self, user_id: str, device_id: str, position: int, previous: int | None) -> None:
        if device_id != CROSS_SIGNING:
            self.heads.setdefault(user_id, previous)
        self.devices.pop((user_id, device_id), None)
        self.devices[user_id, device_id] = position

    def drop_events(self, events: Collection[QueuedEvent]) -> None:
        """They were sent, or written down."""
        done = 0
        # What was spilled meanwhile is not in the queue any more.
        while done < len(self.events) and self.events[done] in events:
            done += 1
        del self.events[:done]

    def is_full(self, max_events: int) -> bool:
        return len(self.events) > max_events or len(self.devices) > MAX_DEVICES

    @property
    def is_empty(self) -> bool:
        return not (self.events or self.passing or self.devices or self.has_messages or self.is_behind)

    def find_oldest(self) -> int | None:
        """The oldest position that a crash must not lose; None if there is none."""
        positions = list(self.devices.values())
        positions += [one.position for one in self.passing.values() if one.position is not None]
        if self.events:
            positions.append(self.events[0].position)
        if self.floor is not None:
            positions.append(self.floor)
        return min(positions, default=None)
