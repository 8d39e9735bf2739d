"""State resolution of room version 1.

Source: room version 1, "State resolution". Its text leaves open which other conflicting entries an event is
checked against; like in the servers that made the rooms there are, a pass sees the results of the passes
before it, and of its own only the entry being resolved.
"""

from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Final

from federation.room_dag.auth_rules.auth_state import StateLookup
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR
from federation.room_dag.state_resolution.conflict import Conflict
from federation.room_dag.state_resolution.interfaces import EventLookup, StateMap

_PASSES: Final[tuple[Callable[[tuple[str, str]], bool], ...]] = (
    lambda pair: pair == POWER_LEVELS_PAIR,
    lambda pair: pair[0] == "m.room.join_rules",
    lambda pair: pair[0] == "m.room.member",
)


def resolve_v1(conflict: Conflict, events: EventLookup) -> StateMap:
    """Resolve conflicts of power levels, then join rules, then members, then all others."""
    # "A *conflict* occurs between states where those states have different `event_ids` for the same `(event_type,
    # state_key)`." What only some of the states have, and no other has otherwise, is part of their union.
    resolved = {pair: next(iter(ids)) for pair, ids in conflict.candidates.items() if len(ids) == 1}
    pending = {
        pair: [events.get(each) for each in ids]
        for pair, ids in conflict.candidates.items()
        if pair not in resolved
    }
    lookup = _make_lookup(conflict, resolved, events)
    for belongs in _PASSES:
        of_pass = {pair: candidates for pair, candidates in pending.items() if belongs(pair)}
        resolved.update(
            {pair: _resolve_auth_entry(pair, each, lookup).event_id for pair, each in of_pass.items()}
        )
        for pair in of_pass:
            del pending[pair]
    resolved.update({pair: _resolve_entry(each, lookup).event_id for pair, each in pending.items()})
    return conflict.settle(resolved)


def _make_lookup(
    conflict: Conflict, resolved: dict[tuple[str, str], str], events: EventLookup
) -> StateLookup:
    def lookup(pair: tuple[str, str]) -> Event | None:
        event_id = resolved.get(pair) or conflict.unconflicted(pair)
        return None if event_id is None else events.get(event_id)

    return lookup


def _resolve_auth_entry(pair: tuple[str, str], candidates: Iterable[Event], lookup: StateLookup) -> Event:
    # "Sort the list by ascending `depth` then descending `sha1(event_id)`. Add the first event in the list to
    # R."
    ordered = sorted(candidates, key=_depth_then_hash, reverse=True)
    chosen = ordered[0]
    # "For each subsequent event in the list, check that the event would be allowed by the authorization rules
    # for a room in state R. If the event would be allowed, then update R with the event and continue with the
    # next event in the list. If it would not be allowed, stop".
    for event in ordered[1:]:
        current = chosen

        def with_current(asked: tuple[str, str], current: Event = current) -> Event | None:
            return current if asked == pair else lookup(asked)

        if not _is_allowed(event, with_current):
            break
        chosen = event
    return chosen


def _resolve_entry(candidates: Iterable[Event], lookup: StateLookup) -> Event:
    # Of all others "pick the event with the highest depth and lowest `sha1(event_id)` that passes
    # authentication in R".
    ordered = sorted(candidates, key=_depth_then_hash)
    for event in ordered:
        if _is_allowed(event, lookup):
            return event
    # COMPAT: the text does not say what happens if none passes; other servers keep the oldest.
    return ordered[-1]


def _depth_then_hash(event: Event) -> tuple[int, bytes]:
    """Descending depth, then ascending hash."""
    return -event.depth, sha1(event.event_id.encode("utf-8"), usedforsecurity=False).digest()


def _is_allowed(event: Event, lookup: StateLookup) -> bool:
    try:
        check_event_auth(event, lookup)
    except NotAllowed:
        return False
    return True
