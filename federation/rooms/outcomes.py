"""What the engine asks about each event while it is accepted: whom it notifies."""

from collections.abc import Collection
from typing import Protocol

from federation.room_dag.event import Event
from federation.room_dag.power_levels import PowerLevels
from storage.events import PersonalPush
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The bits `storage.events.NOTIFY` and `HIGHLIGHT`."""

    default: int
    """For everybody but the sender and those named in `personal`."""
    personal: tuple[PersonalPush, ...] = ()


class RoomView(Protocol):
    """The room at the moment before the event."""

    @property
    def joined_count(self) -> int: ...

    @property
    def power_levels(self) -> PowerLevels: ...

    def is_joined(self, user_id: str) -> bool: ...

    def display_name(self, user_id: str) -> str | None: ...


class PushOutcomes(Protocol):
    """Evaluates push rules by distinct rule set."""

    def is_prepared(self, room_id: str) -> bool: ...

    async def prepare(self, room_id: str, also: Collection[str] = ()) -> None:
        """Load what `evaluate` needs for a room's members, and for users about to be invited."""

    def evaluate(self, event: Event, room: RoomView) -> PushOutcome: ...


class NoPushOutcomes:
    """Nobody is notified: for tools that work on rooms without users."""

    def is_prepared(self, room_id: str) -> bool:
        return True

    async def prepare(self, room_id: str, also: Collection[str] = ()) -> None:
        return

    def evaluate(self, event: Event, room: RoomView) -> PushOutcome:
        return PushOutcome(0)
