"""The state after an event, as an immutable value with the snapshot that describes it; and how branches merge."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from immutables import Map

from federation.room_dag.room_versions import RoomRules
from federation.room_dag.state_resolution.auth_chains import WalkedAuthChains
from federation.room_dag.state_resolution.conflict import find_conflict
from federation.room_dag.state_resolution.interfaces import EventLookup
from federation.room_dag.state_resolution.resolve import resolve_conflict
from federation.rooms.room_state import StatePair
from storage.events import StateChange


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored state, and what a state has more than it."""

    name: str | None
    """The event ID that names it; None before the first event."""
    nid: int | None
    """Its number; None while it is not committed."""
    unsaved: tuple[StateChange, ...] = ()
    """The outcome of a resolution that no event carries yet."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The state of a room after an event, or after several that were merged."""

    entries: "Map[StatePair, str]"
    snapshot: Snapshot

    def is_same(self, other: "Branch") -> bool:
        """Whether both are known to be the same state without comparing them."""
        return self.entries is other.entries or (
            self.snapshot.name == other.snapshot.name and self.snapshot.unsaved == other.snapshot.unsaved
        )


NO_STATE = Branch(Map(), Snapshot(None, None))


def merge_branches(
    rules: RoomRules, branches: Sequence[Branch], events: EventLookup, rejected: Container[str]
) -> Branch:
    """The resolution of several branches, described as the difference to the first."""
    distinct: list[Branch] = []
    for branch in branches:
        if not any(branch.is_same(other) for other in distinct):
            distinct.append(branch)
    first = distinct[0]
    if len(distinct) == 1:
        return first
    conflict = find_conflict([branch.entries for branch in distinct])
    if not conflict.candidates:
        return first
    resolved = resolve_conflict(rules, conflict, events, WalkedAuthChains(events), rejected)
    changed = {(change[0], change[1]): change[2] for change in first.snapshot.unsaved}
    for pair in conflict.candidates:
        if resolved.get(pair) != first.entries.get(pair):
            changed[pair] = resolved.get(pair)
    if not isinstance(resolved, Map):
        resolved = Map(resolved)
    unsaved = tuple((*pair, event_id) for pair, event_id in changed.items())
    return Branch(resolved, Snapshot(first.snapshot.name, first.snapshot.nid, unsaved))
