"""The entry to state resolution.

Source: "State resolution" of each room version.
"""

from collections.abc import Container, Sequence

from federation.room_dag.room_versions import RoomRules, StateResolution
from federation.room_dag.state_resolution.auth_chains import WalkedAuthChains
from federation.room_dag.state_resolution.conflict import Conflict, find_conflict
from federation.room_dag.state_resolution.interfaces import AuthChains, EventLookup, StateMap
from federation.room_dag.state_resolution.v1 import resolve_v1
from federation.room_dag.state_resolution.v2 import resolve_v2


def resolve(
    rules: RoomRules,
    state_sets: Sequence[StateMap],
    events: EventLookup,
    chains: AuthChains | None = None,
    rejected: Container[str] = frozenset(),
) -> StateMap:
    """The resolution of some states of a room, whatever their order.

    Nothing is changed; if the first state is an ``immutables.Map``, the result is one that shares structure
    with it. `rejected` are IDs of rejected events. Without `chains` the auth events are walked.
    """
    if not state_sets:
        return {}
    conflict = find_conflict(state_sets)
    if not conflict.candidates:
        return conflict.base
    return resolve_conflict(rules, conflict, events, chains or WalkedAuthChains(events), rejected)


def resolve_conflict(
    rules: RoomRules,
    conflict: Conflict,
    events: EventLookup,
    chains: AuthChains,
    rejected: Container[str] = frozenset(),
) -> StateMap:
    """Like resolve, for a caller that knows already where the states differ."""
    if rules.state_resolution is StateResolution.V1:
        return resolve_v1(conflict, events)
    return resolve_v2(rules, conflict, events, chains, rejected)
