"""What a sync asks for."""

from collections.abc import Callable, Hashable
from enum import Enum

from federation.rooms.stored_event import StoredEvent
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import SYNC_STYLE, EventStyle
from popcube_server.services.sync.tokens import SyncToken
from synapse_like_config.lazy_dataclasses import dataclass

DEFAULT_TIMELINE_LIMIT = 10
MAX_TIMELINE_LIMIT = 1000


class StateStyle(Enum):
    """Where in the timeline the state is given. The value is its name in the answer."""

    BEFORE = b"state"
    AFTER = b"state_after"
    # COMPAT: MSC4222 before it was part of the specification.
    AFTER_UNSTABLE = b"org.matrix.msc4222.state_after"


@dataclass(frozen=True, slots=True)
class EventSelection:
    """Which room events are wanted in one part of the answer. None stands for all."""

    matches: Callable[[StoredEvent], bool] | None = None
    is_room_wanted: Callable[[str], bool] | None = None
    key: Hashable = None
    """Equal for selections that select the same: what is made for one serves the other."""

    def select(self, events: list[StoredEvent]) -> list[StoredEvent]:
        matches = self.matches
        return events if matches is None else [stored for stored in events if matches(stored)]

    def has_room(self, room_id: str) -> bool:
        return self.is_room_wanted is None or self.is_room_wanted(room_id)


@dataclass(frozen=True, slots=True)
class DataSelection:
    """Which account data or ephemeral events are wanted. None stands for all."""

    has_type: Callable[[str], bool] | None = None
    has_sender: Callable[[str], bool] | None = None
    is_room_wanted: Callable[[str], bool] | None = None

    def wants_type(self, event_type: str) -> bool:
        return self.has_type is None or self.has_type(event_type)

    def wants_sender(self, user_id: str) -> bool:
        return self.has_sender is None or self.has_sender(user_id)

    def has_room(self, room_id: str) -> bool:
        return self.is_room_wanted is None or self.is_room_wanted(room_id)


@dataclass(frozen=True, slots=True)
class SyncView:
    """What of everything new the client wants to see: a filter, as far as sync is concerned."""

    is_room_wanted: Callable[[str], bool] | None = None
    has_left_rooms: bool = False
    """`include_leave`"""
    timeline_limit: int = DEFAULT_TIMELINE_LIMIT
    timeline: EventSelection = EventSelection()
    state: EventSelection = EventSelection()
    is_lazy: bool = False
    """`lazy_load_members`: only the members that the timeline needs."""
    has_redundant_members: bool = False
    has_threads: bool = False
    """`unread_thread_notifications`"""
    ephemeral: DataSelection = DataSelection()
    room_account_data: DataSelection = DataSelection()
    account_data: DataSelection = DataSelection()
    presence: DataSelection = DataSelection()
    style: EventStyle = SYNC_STYLE

    def has_room(self, room_id: str) -> bool:
        return self.is_room_wanted is None or self.is_room_wanted(room_id)


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A request, parsed."""

    requester: Requester
    since: SyncToken | None
    view: SyncView
    timeout_ms: int = 0
    is_full_state: bool = False
    state_style: StateStyle = StateStyle.BEFORE
    presence: str = "online"
    """`set_presence`: online, unavailable or offline."""
