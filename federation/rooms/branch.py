"""The state after an event, as an immutable value with the snapshot that describes it: see `merge_branches.py`."""

from collections.abc import Container, Mapping, Sequence

from immutables import Map

from federation.room_dag.room_versions import RoomRules
from federation.room_dag.state_resolution.interfaces import EventLookup
from federation.room_dag.state_resolution.resolve import resolve
from federation.rooms.room_state import StatePair
from storage.events import StateChange
from synapse_like_config.lazy_dataclasses import dataclass


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


NO_STATE = Branch(Map(), Snapshot(None, None))


def merge_branches(
    rules: RoomRules, branches: Sequence[Branch], events: EventLookup, rejected: Container[str]
) -> Branch:
    """The resolution of several branches, described as the difference to the first.

    For events that are in no index yet: whatever is needed is looked up. `MergeBranches` is for
    rooms as they are stored.
    """
    first = branches[0]
    if all(branch.entries is first.entries for branch in branches):
        return first
    return describe(first, resolve(rules, [branch.entries for branch in branches], events, None, rejected))


def describe(first: Branch, resolved: Mapping[StatePair, str]) -> Branch:
    """A state as the difference to that of a branch."""
    if resolved is first.entries:
        return first
    state: Map[StatePair, str] = resolved if isinstance(resolved, Map) else Map(resolved.items())
    changed = {(change[0], change[1]): change[2] for change in first.snapshot.unsaved}
    changed.update(
        (pair, event_id) for pair, event_id in state.items() if first.entries.get(pair) != event_id
    )
    changed.update((pair, None) for pair in first.entries if pair not in state)
    unsaved = tuple((*pair, event_id) for pair, event_id in changed.items())
    return Branch(state, Snapshot(first.snapshot.name, first.snapshot.nid, unsaved))
