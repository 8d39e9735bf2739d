"""State resolution of room versions 2 to 11, and 2.1 of version 12.

Source: room versions 2 and 12, "State resolution", whose terms and steps these are.
"""

from collections.abc import Container

from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR
from federation.room_dag.room_versions import RoomRules, StateResolution
from federation.room_dag.state_resolution.conflict import Conflict
from federation.room_dag.state_resolution.interfaces import AuthChains, EventLookup, StateMap
from federation.room_dag.state_resolution.iterative_auth import IterativeAuth
from federation.room_dag.state_resolution.mainline import sort_by_mainline
from federation.room_dag.state_resolution.power_ordering import sort_by_power


def resolve_v2(
    rules: RoomRules,
    conflict: Conflict,
    events: EventLookup,
    chains: AuthChains,
    rejected: Container[str],
) -> StateMap:
    """The resolved state."""
    revised = rules.state_resolution is StateResolution.V2_1
    # "The full conflicted set is the union of the conflicted state set and the auth difference."
    holders = conflict.holders
    full_conflicted = holders.keys() | chains.difference(holders, conflict.count, conflict.unconflicted_ids)
    if revised:
        # Version 12: "... and the conflicted state subgraph"
        full_conflicted |= chains.subgraph(holders.keys())
    chains.expect(full_conflicted)
    # 1. "Select the set X of all power events that appear in the full conflicted set. For each such power
    # event P, enlarge X by adding the events from P's auth chain which also belong to the full conflicted
    # set. Sort X into a list using the reverse topological power ordering."
    power_events = {event_id for event_id in full_conflicted if _is_power_event(events.get(event_id))}
    power_events |= chains.within(power_events, full_conflicted)
    # 2. "Apply the iterative auth checks algorithm, starting from the unconflicted state map [version 12: an
    # empty state map], to the list of events from the previous step to get a partially resolved state."
    state = IterativeAuth(events, _nothing if revised else conflict.unconflicted, rejected)
    state.apply(sort_by_power(rules, power_events, events))
    # 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline ordering
    # based on the power level in the partially resolved state obtained in step 2."
    remaining = full_conflicted - power_events
    # 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of events from
    # the previous step."
    state.apply(sort_by_mainline(remaining, state.find_id(POWER_LEVELS_PAIR), events))
    # 5. The unconflicted state map has the last word.
    return conflict.settle(state.applied)


def _is_power_event(event: Event) -> bool:
    """Whether an event might remove someone's ability to do something in the room."""
    # "A power event is a state event with type `m.room.power_levels` or `m.room.join_rules`, or a state event
    # with type `m.room.member` where the `membership` is `leave` or `ban` and the `sender` does not match the
    # `state_key`."
    if event.state_key is None:
        return False
    if event.type in ("m.room.power_levels", "m.room.join_rules"):
        return True
    if event.type != "m.room.member" or event.sender == event.state_key:
        return False
    return event.membership in ("leave", "ban")


def _nothing(_pair: tuple[str, str]) -> None:
    return None
