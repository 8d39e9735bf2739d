"""A room in memory: where its graph ends, its state there, and what is on its way to the disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR, PowerLevels
from federation.room_dag.room_versions import RoomRules
from federation.rooms.outcomes import PushOutcome
from federation.rooms.relation import find_relation
from federation.rooms.room_state import MEMBER, RoomState
from storage.committer import Fence
from storage.events import NewState, StateChange, StoreEvent
from storage.memberships import MembershipChange

MAX_PREV_EVENTS = 20


@dataclass(frozen=True, slots=True)
class Head:
    """A forward extremity."""

    event_id: str
    depth: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The stored state that the room's state is described by."""

    name: str | None
    """The event ID that names it; None before the first event."""
    nid: int | None
    """Its number; None while it is not committed."""
    unsaved: tuple[StateChange, ...] = ()
    """What the room's state has more: the outcome of a resolution that no event carries yet."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that was appended and is not committed yet."""

    event: Event
    state: RoomState
    change: StoreEvent


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about an event before it is appended."""

    outcome: PushOutcome
    redacts: str | None
    """The event that it redacts, if the redaction is to be applied."""
    thread: str | None
    sent_by: tuple[str, str] | None = None
    """Session and transaction ID of the request."""


class LiveRoom:
    """One room. Everything here is synchronous: between two awaits nobody else can move it."""

    def __init__(
        self,
        room_id: str,
        rules: RoomRules,
        heads: Sequence[Head],
        state: RoomState,
        snapshot: Snapshot,
        auth_events: Mapping[str, Event],
    ) -> None:
        self.room_id = room_id
        self.rules = rules
        self.heads = list(heads)
        self.state = state
        """After everything that was appended: what the next event builds on."""
        self.committed = state
        """After everything that is on disk: what readers see."""
        self.snapshot = snapshot
        self.fence = Fence()
        self.pending: dict[str, Pending] = {}
        self.auth_events = dict(auth_events)
        """Events of the room's present rules (create, power levels, join rules), which every check needs."""
        self._power_levels: tuple[str | None, PowerLevels] | None = None

    @property
    def depth(self) -> int:
        return max((head.depth for head in self.heads), default=0)

    @property
    def power_levels(self) -> PowerLevels:
        """Those of `state`; needs the room's `auth_events`."""
        event_id = self.state.entries.get(POWER_LEVELS_PAIR)
        if self._power_levels is None or self._power_levels[0] != event_id:
            create = self.auth_events[self.state.entries["m.room.create", ""]]
            levels = None if event_id is None else self.auth_events[event_id]
            self._power_levels = (event_id, PowerLevels(create, levels, self.rules))
        return self._power_levels[1]

    @property
    def prev_heads(self) -> list[Head]:
        """The heads that the next event names as its predecessors."""
        return self.heads[:MAX_PREV_EVENTS]

    def append(self, event: Event, facts: Facts) -> StoreEvent:
        """Put an event that was checked on top of all heads, and describe what is to be stored."""
        replaces = self.state.entries.get(event.state_pair) if event.is_state else None
        state, new_state = self._next_state(event)
        left = self.heads[MAX_PREV_EVENTS:]
        change = StoreEvent(
            room_id=self.room_id,
            event_id=event.event_id,
            type=event.type,
            sender=event.sender,
            state_key=event.state_key,
            json=event.json,
            snapshot=self.snapshot.name if new_state is None else event.event_id,
            snapshot_nid=self.snapshot.nid if new_state is None else None,
            new_state=new_state,
            replaces=replaces,
            heads=(event.event_id, *(head.event_id for head in left)) if left else None,
            memberships=_membership_changes(event),
            redacts=facts.redacts,
            relation=None if event.is_state else find_relation(event.content),
            thread=facts.thread,
            push=facts.outcome.default,
            personal_push=facts.outcome.personal,
            sent_by=facts.sent_by,
        )
        self.heads = [Head(event.event_id, event.depth), *left]
        self.state = state
        if new_state is not None:
            self.snapshot = Snapshot(event.event_id, None)
        self.pending[event.event_id] = Pending(event, state, change)
        if event.state_key == "" and event.type in (
            "m.room.create",
            "m.room.power_levels",
            "m.room.join_rules",
        ):
            self.auth_events[event.event_id] = event
            if replaces is not None:
                self.auth_events.pop(replaces, None)
        return change

    def _next_state(self, event: Event) -> tuple[RoomState, NewState | None]:
        if not event.is_state:
            if not self.snapshot.unsaved:
                return self.state, None
            return self.state, NewState(self.snapshot.name, self.snapshot.unsaved)
        pair = event.state_pair
        membership = event.membership if pair[0] == MEMBER else None
        state = self.state.with_entry(pair, event.event_id, membership)
        own: StateChange = (*pair, event.event_id)
        kept = tuple(change for change in self.snapshot.unsaved if change[:2] != pair)
        return state, NewState(self.snapshot.name, (*kept, own))

    def commit(self, event_id: str, position: int) -> Pending | None:
        """An appended event reached the disk: readers see it from now on."""
        pending = self.pending.pop(event_id, None)
        if pending is None:
            return None
        self.committed = pending.state
        if self.snapshot.name == event_id:
            self.snapshot = Snapshot(event_id, position, self.snapshot.unsaved)
        return pending


def _membership_changes(event: Event) -> tuple[MembershipChange, ...]:
    if event.type != MEMBER or event.state_key is None or event.membership is None:
        return ()
    return (MembershipChange(event.state_key, event.membership, event.event_id),)
