"""Which heads an event of this server stands on, in a room that has more of them than an event may name."""

from collections.abc import Collection, Mapping, Sequence

from federation.room_dag.event_format import MAX_PREV_EVENTS
from federation.rooms.live_room import Head
from federation.rooms.room_state import StatePair
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChosenHeads:
    """At most 20 heads. Each event takes away as many and adds one, so that heads do not pile up."""

    heads: Sequence[Head]
    """The oldest ones of those that agree best with the room's state."""
    agreeing: Sequence[Head]
    """Those that agree with it in everything that decides about the event: over these it is allowed if it is now."""


def choose_heads(
    heads: Sequence[Head], current: Mapping[StatePair, str], pairs: Collection[StatePair]
) -> ChosenHeads:
    """Choose for an event about which these entries of the current state decide."""
    if len(heads) <= MAX_PREV_EVENTS:
        return ChosenHeads(heads, heads)
    wanted = [(pair, current.get(pair)) for pair in pairs]
    differing = {
        head.event_id: sum(head.branch.entries.get(pair) != event_id for pair, event_id in wanted)
        for head in heads
    }
    # What names no place in the order keeps its own: the oldest come first.
    rated = sorted(heads, key=lambda head: differing[head.event_id])
    agreeing = [head for head in rated if differing[head.event_id] == 0]
    return ChosenHeads(rated[:MAX_PREV_EVENTS], agreeing[:MAX_PREV_EVENTS])
