"""Which events of a room's state go into an answer: pure decisions over event IDs.

What a client does with the answer: it applies `state`, then the state events of the timeline, one after the other; or,
with `state_after`, that alone. Both must lead from what it knew to the room's state at the end of the timeline.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field

from federation.rooms.stored_event import StoredEvent
from synapse_like_config.lazy_dataclasses import dataclass

StatePair = tuple[str, str]
Entries = Mapping[StatePair, str]

MEMBER = "m.room.member"


@dataclass(frozen=True, slots=True)
class TimelineState:
    """The state events of a timeline, by what they set."""

    first: Mapping[StatePair, StoredEvent] = field(default_factory=dict)
    last: Mapping[StatePair, str] = field(default_factory=dict)

    def before(self, pair: StatePair, final: Entries) -> str | None:
        """An entry at the start of the timeline, given the state at its end."""
        stored = self.first.get(pair)
        return final.get(pair) if stored is None else stored.replaces


_NOTHING = TimelineState()


def read_timeline(timeline: Iterable[StoredEvent]) -> TimelineState:
    first: dict[StatePair, StoredEvent] = {}
    last: dict[StatePair, str] = {}
    for stored in timeline:
        if stored.event.state_key is not None:
            pair = stored.event.state_pair
            first.setdefault(pair, stored)
            last[pair] = stored.event.event_id
    return TimelineState(first, last) if first else _NOTHING


def cut_contradictions(timeline: Sequence[StoredEvent], final: Entries) -> Sequence[StoredEvent]:
    """The end of a timeline without state events that lost in state resolution.

    A client that applies a losing event has a wrong state for good; what is cut off can be paged back to.
    """
    last = read_timeline(timeline).last
    for index in range(len(timeline) - 1, -1, -1):
        event = timeline[index].event
        if event.state_key is not None:
            pair = event.state_pair
            if last[pair] == event.event_id and final.get(pair) != event.event_id:
                return timeline[index + 1 :]
    return timeline


def full_before(final: Entries, timeline: TimelineState) -> dict[StatePair, str]:
    """The whole state at the start of the timeline."""
    chosen = dict(final)
    for pair, stored in timeline.first.items():
        if stored.replaces is None:
            chosen.pop(pair, None)
        else:
            chosen[pair] = stored.replaces
    return chosen


def full_after(final: Entries, timeline: TimelineState) -> dict[StatePair, str]:
    """The whole state at the end of the timeline."""
    return dict(final)


def delta_before(
    final: Entries, timeline: TimelineState, changed: Mapping[StatePair, int]
) -> dict[StatePair, str]:
    """What the client must know before it applies the timeline; `changed` has the position of each first change."""
    chosen: dict[StatePair, str] = {}
    for pair, position in changed.items():
        first = timeline.first.get(pair)
        if first is not None and position >= first.position:
            # Nothing happened to the entry between what the client knows and the timeline.
            continue
        event_id = timeline.before(pair, final)
        if event_id is not None:
            chosen[pair] = event_id
    return chosen


def delta_after(
    final: Entries, timeline: TimelineState, changed: Mapping[StatePair, int]
) -> dict[StatePair, str]:
    """What changed until the end of the timeline."""
    return {pair: final[pair] for pair in changed if pair in final}


def members_of(
    users: Collection[str], final: Entries, timeline: TimelineState, is_after: bool
) -> dict[StatePair, str]:
    """The member events of these users, at the start or at the end of the timeline."""
    chosen: dict[StatePair, str] = {}
    for user in users:
        pair = (MEMBER, user)
        event_id = final.get(pair) if is_after else timeline.before(pair, final)
        if event_id is not None:
            chosen[pair] = event_id
    return chosen


def without_members(chosen: Mapping[StatePair, str]) -> dict[StatePair, str]:
    return {pair: event_id for pair, event_id in chosen.items() if pair[0] != MEMBER}
