"""A room in memory: where its graph ends, its state there, and what is on its way to the disk."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR, PowerLevels
from federation.room_dag.room_versions import RoomRules
from federation.rooms.branch import Branch, Snapshot
from federation.rooms.outcomes import PushOutcome
from federation.rooms.relation import find_relation
from federation.rooms.room_state import MEMBER, RoomState, StatePair, changed_pairs
from storage.committer import Fence
from storage.database import Waiter
from storage.events import REJECTED, NewState, StateChange, StoreEvent
from storage.memberships import MembershipChange
from synapse_like_config.lazy_dataclasses import dataclass

RULES_PAIRS: tuple[StatePair, ...] = (
    ("m.room.create", ""),
    ("m.room.power_levels", ""),
    ("m.room.join_rules", ""),
)


@dataclass(frozen=True, slots=True)
class Head:
    """A forward extremity."""

    event_id: str
    depth: int
    branch: Branch
    """The state after it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that is part of the room in memory and not committed yet."""

    event: Event
    state: RoomState
    """The room's current state as it is with this event."""
    change: StoreEvent
    branch: Branch
    """The state after the event."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about an event before it becomes part of the room."""

    outcome: PushOutcome
    redacts: str | None
    """The event that it redacts, if the redaction is to be applied."""
    thread: str | None
    sent_by: tuple[str, str] | None = None
    """Device and transaction ID of the request."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an event from elsewhere goes: decided beforehand, applied in one step."""

    before: Branch
    """The state before it."""
    flags: int
    """`storage.events.REJECTED` or `SOFT_FAILED`; 0 if it becomes part of the timeline."""
    current: Branch | None
    """The room's current state afterwards; None if the event does not take part in it."""
    memberships: Mapping[str, str]
    """Of the member events of `current` that were not in force before: event ID to membership."""
    rules_events: Mapping[str, Event]
    """The events of `current` that every check needs, by ID."""
    outlier_nid: int | None = None
    """The event's number, if it is stored already as an outlier."""
    is_only_head: bool = False
    """The event takes the place of all heads, whether it names them or not."""
    after: Branch | None = None
    """The state after it, if that was made already: that there is one value for one state saves comparing them."""
    changed: Sequence[StatePair] | None = None
    """The entries in which `current` differs from what was current before; None: the states must be compared."""
    covered: frozenset[str] = frozenset()
    """Events that it stands on by way of events that are no part of the timeline: none of them is a head any more."""


class LiveRoom:
    """One room. Everything here is synchronous: between two awaits nobody else can move it."""

    def __init__(
        self, room_id: str, rules: RoomRules, heads: Sequence[Head], current: Branch, state: RoomState
    ) -> None:
        self.room_id = room_id
        self.rules = rules
        self.heads = list(heads)
        self.snapshot = current.snapshot
        """What is stored of `state`."""
        self.state = state
        """After everything that was appended: what the next event builds on."""
        self.committed = state
        """After everything that is on disk: what readers see."""
        self.fence = Fence()
        self.pending: dict[str, Pending] = {}
        self.auth_events: dict[str, Event] = {}
        """Events of the room's present rules (create, power levels, join rules), which every check needs."""
        self.held: list[Waiter[None]] | None = None
        """Not None while somebody places an event and must wait for the database in between: others queue here."""
        self._power_levels: tuple[str | None, PowerLevels] | None = None

    @property
    def depth(self) -> int:
        return max((head.depth for head in self.heads), default=0)

    @property
    def current(self) -> Branch:
        """The state after all heads."""
        return Branch(self.state.entries, self.snapshot)

    @property
    def power_levels(self) -> PowerLevels:
        """Those of `state`; needs the room's `auth_events`."""
        event_id = self.state.entries.get(POWER_LEVELS_PAIR)
        if self._power_levels is None or self._power_levels[0] != event_id:
            create = self.auth_events[self.state.entries["m.room.create", ""]]
            levels = None if event_id is None else self.auth_events[event_id]
            self._power_levels = (event_id, PowerLevels(create, levels, self.rules))
        return self._power_levels[1]

    def append(self, event: Event, facts: Facts) -> StoreEvent:
        """Put an event of this server, which was checked, on top of all heads; describe what is to be stored."""
        replaces = self.state.entries.get(event.state_pair) if event.is_state else None
        branch, new_state = branch_after(event, self.current, 0)
        state = self.state
        if event.is_state:
            state = state.with_entry(event.state_pair, event.event_id, event.membership)
            state = replace(state, entries=branch.entries)
        heads = [Head(event.event_id, event.depth, branch)]
        change = self._change(event, branch, new_state, facts, replaces, 0, heads, _own_membership(event))
        self._move(event, change, heads, branch, state)
        self.snapshot = branch.snapshot
        self._keep_rules({event.event_id: event})
        return change

    def place(self, event: Event, facts: Facts, placement: Placement) -> StoreEvent:
        """Make an event from elsewhere part of the room as it was decided; describe what is to be stored."""
        replaces = placement.before.entries.get(event.state_pair) if event.is_state else None
        branch, new_state = branch_after(event, placement.before, placement.flags)
        if placement.after is not None:
            branch = replace(branch, entries=placement.after.entries)
        if placement.current is None:
            # Rejected or soft failed: stored, with its state, and the room stays as it is.
            change = self._change(
                event, branch, new_state, facts, replaces, placement.flags, self.heads[:1], ()
            )
            return replace(change, outlier_nid=placement.outlier_nid)
        state, memberships, resets = self._next_current(event, placement)
        heads = [
            head
            for head in self.heads
            if head.event_id not in event.prev_events
            and head.event_id not in placement.covered
            and not placement.is_only_head
        ]
        heads.append(Head(event.event_id, event.depth, branch))
        if resets:
            changes = () if new_state is None else new_state.changes
            new_state = NewState(placement.before.snapshot.name, changes, resets)
            branch = Branch(branch.entries, Snapshot(event.event_id, None))
            heads[-1] = Head(event.event_id, event.depth, branch)
        change = self._change(event, branch, new_state, facts, replaces, 0, heads, memberships)
        change = replace(change, outlier_nid=placement.outlier_nid)
        self._move(event, change, heads, branch, state)
        self.snapshot = branch.snapshot if len(heads) == 1 else placement.current.snapshot
        self._keep_rules({**placement.rules_events, event.event_id: event})
        return change

    def _next_current(
        self, event: Event, placement: Placement
    ) -> tuple[RoomState, tuple[MembershipChange, ...], tuple[StateChange, ...]]:
        """The current state moved to the placement's: with who came and went, and what changed beside the event."""
        assert placement.current is not None
        state, entries = self.state, placement.current.entries
        memberships, resets = [], []
        changed = placement.changed
        for pair in changed_pairs(state.entries, entries) if changed is None else changed:
            event_id = entries.get(pair)
            membership = None
            if pair[0] == MEMBER:
                membership = None if event_id is None else placement.memberships.get(event_id)
                named = event_id or state.entries[pair]
                memberships.append(MembershipChange(pair[1], membership or "leave", named))
            if event_id != event.event_id:
                resets.append((*pair, event_id))
            state = state.with_entry(pair, event_id, membership)
        return replace(state, entries=entries), tuple(memberships), tuple(resets)

    def _change(
        self,
        event: Event,
        branch: Branch,
        new_state: NewState | None,
        facts: Facts,
        replaces: str | None,
        flags: int,
        heads: Sequence[Head],
        memberships: tuple[MembershipChange, ...],
    ) -> StoreEvent:
        return StoreEvent(
            room_id=self.room_id,
            event_id=event.event_id,
            type=event.type,
            sender=event.sender,
            state_key=event.state_key,
            origin_server_ts=event.origin_server_ts,
            json=event.json,
            snapshot=branch.snapshot.name if new_state is None else event.event_id,
            snapshot_nid=branch.snapshot.nid if new_state is None else None,
            new_state=new_state,
            replaces=replaces,
            flags=flags,
            # Kept only if there is more to say than that this event is the newest; flagged ones move no head.
            heads=tuple(head.event_id for head in heads) if len(heads) > 1 and not flags else None,
            memberships=memberships,
            redacts=facts.redacts,
            relation=None if event.is_state else find_relation(event.content),
            thread=facts.thread,
            push=facts.outcome.default,
            personal_push=facts.outcome.personal,
            sent_by=facts.sent_by,
            auth_events=event.auth_events,
        )

    def _move(
        self, event: Event, change: StoreEvent, heads: list[Head], branch: Branch, state: RoomState
    ) -> None:
        self.heads = heads
        self.state = state
        self.pending[event.event_id] = Pending(event, state, change, branch)

    def _keep_rules(self, new: Mapping[str, Event]) -> None:
        known = {**self.auth_events, **new}
        wanted = (self.state.entries.get(pair) for pair in RULES_PAIRS)
        self.auth_events = {event_id: known[event_id] for event_id in wanted if event_id is not None}

    def commit(self, event_id: str, position: int) -> Pending | None:
        """An event reached the disk: readers see it from now on."""
        pending = self.pending.pop(event_id, None)
        if pending is None:
            return None
        self.committed = pending.state
        if self.snapshot.name == event_id and self.snapshot.nid is None:
            self.snapshot = Snapshot(event_id, position, self.snapshot.unsaved)
        return pending


def branch_after(event: Event, before: Branch, flags: int) -> tuple[Branch, NewState | None]:
    """The state after an event, and what is to be stored of it if it is a new one."""
    unsaved = before.snapshot.unsaved
    if not event.is_state or flags & REJECTED:
        if not unsaved:
            return before, None
        # The outcome of the resolution gets its name here.
        return Branch(before.entries, Snapshot(event.event_id, None)), NewState(before.snapshot.name, unsaved)
    pair = event.state_pair
    own: StateChange = (*pair, event.event_id)
    kept = tuple(change for change in unsaved if change[:2] != pair)
    entries = before.entries.set(pair, event.event_id)
    return Branch(entries, Snapshot(event.event_id, None)), NewState(before.snapshot.name, (*kept, own))


def _own_membership(event: Event) -> tuple[MembershipChange, ...]:
    if event.type != MEMBER or event.state_key is None or event.membership is None:
        return ()
    return (MembershipChange(event.state_key, event.membership, event.event_id),)
