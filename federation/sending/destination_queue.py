"""What waits for one destination: places in the log, not events.

States: idle -> sending -> idle; sending -> backing off -> catching up -> sending; sending -> catching up, if more
waits than a queue holds; stopped.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

MAX_EVENTS: Final = 200
"""That wait in memory; of more, the destination is brought up to date instead."""
MAX_EPHEMERAL: Final = 100
"""Of more, the oldest are dropped."""
MAX_DEVICES: Final = 500
MAX_MARKED: Final = 200


class State(Enum):
    IDLE = "nothing waits"
    SENDING = "a transaction is under way"
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


Key = tuple[str, ...]


@dataclass(slots=True)
class DestinationQueue:
    """A destination that is not idle."""

    destination: str
    state: State = State.IDLE
    events: deque[QueuedEvent] = field(default_factory=deque)
    ephemeral: OrderedDict[Key, bytes] = field(default_factory=OrderedDict)
    """EDUs by what they tell: a newer one replaces one that was not sent."""
    devices: dict[tuple[str, str], int] = field(default_factory=dict)
    """(user, device) whose keys changed, with the position."""
    has_messages: bool = False
    """Whether messages to devices may be waiting in the database."""
    is_behind: bool = False
    """Whether the database knows of something that it misses."""
    floor: int | None = None
    """The oldest position that is under way, or is being written down as missed."""
    marked: dict[str, int | None] = field(default_factory=dict)
    """Rooms of which the database knows that something is missed, and up to where: saves writing it for each event."""
    timer: Timer | None = None

    def add_ephemeral(self, key: Key, edu: bytes) -> None:
        self.ephemeral.pop(key, None)
        self.ephemeral[key] = edu
        if len(self.ephemeral) > MAX_EPHEMERAL:
            self.ephemeral.popitem(last=False)

    @property
    def is_full(self) -> bool:
        return len(self.events) > MAX_EVENTS or len(self.devices) > MAX_DEVICES

    @property
    def is_empty(self) -> bool:
        return not (self.events or self.ephemeral or self.devices or self.has_messages or self.is_behind)

    def find_oldest(self) -> int | None:
        """The oldest position that a crash must not lose; None if there is none."""
        positions = list(self.devices.values())
        if self.events:
            positions.append(self.events[0].position)
        if self.floor is not None:
            positions.append(self.floor)
        return min(positions, default=None)
