"""Which of the events that another server gave go into a hole, and in what order. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from heapq import heapify, heappop, heappush

from federation.room_dag.event import Event
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OrderedPage:
    """What was asked for, as far as it came."""

    events: list[Event] = field(default_factory=list)
    """Each behind those of its prev events that are among them; oldest first."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """Events that belong into an older hole, with its place: what leads to them is known, they are not kept."""
    held: dict[str, int] = field(default_factory=dict)
    """Events whose turn has not come, with their depths: what is still missing may lie behind them."""


def order_page(
    wanted: Iterable[str],
    children: Sequence[Event],
    given: Mapping[str, Event],
    is_here: Callable[[str], bool],
    find_older_hole: Callable[[Event], int | None],
    depths: Mapping[str, int],
) -> OrderedPage:
    """Take what leads down from the wanted events: whatever else was given has no business in the hole.

    `children` stand above it; `depths` are those of missing events, as far as they are known.
    """
    elsewhere: dict[str, int] = {}
    chosen: dict[str, Event] = {}
    stack = list(wanted)
    seen = set(stack)
    while stack:
        event_id = stack.pop()
        event = given.get(event_id)
        if event is None or is_here(event_id):
            continue
        place = find_older_hole(event)
        if place is not None:
            elsewhere[event_id] = place
            continue
        chosen[event_id] = event
        new = set(event.prev_events) - seen
        seen |= new
        stack.extend(new)
    missing = [
        depth_at_most(event, prev, depths)
        for event in (*children, *chosen.values())
        for prev in event.prev_events
        if prev not in chosen and prev not in elsewhere and not is_here(prev)
    ]
    # A place above a missing event is only for what cannot be before it.
    lowest = max(missing, default=0)
    held = {event_id: event.depth for event_id, event in chosen.items() if event.depth < lowest}
    kept = {event_id: event for event_id, event in chosen.items() if event_id not in held}
    return OrderedPage(_oldest_first(kept), elsewhere, held)


def depth_at_most(child: Event, prev: str, depths: Mapping[str, int]) -> int:
    """How deep a prev event can be: a child is deeper than what it stands on."""
    return depths.get(prev, child.depth - 1)


def _oldest_first(chosen: Mapping[str, Event]) -> list[Event]:
    waits_for = {
        event_id: len({prev for prev in event.prev_events if prev in chosen})
        for event_id, event in chosen.items()
    }
    followers: dict[str, list[str]] = {}
    for event_id, event in chosen.items():
        for prev in set(event.prev_events):
            followers.setdefault(prev, []).append(event_id)
    ready = [_rank(chosen[event_id]) for event_id, count in waits_for.items() if count == 0]
    heapify(ready)
    order: list[Event] = []
    done: set[str] = set()
    while len(order) < len(chosen):
        if not ready:
            # A cycle, which only room versions 1 and 2 allow: cut where it is lowest.
            ready = [_lowest(chosen.values(), done)]
        event_id = heappop(ready)[2]
        if event_id in done:
            continue
        done.add(event_id)
        order.append(chosen[event_id])
        for follower in followers.get(event_id, ()):
            waits_for[follower] -= 1
            if waits_for[follower] == 0 and follower not in done:
                heappush(ready, _rank(chosen[follower]))
    return order


_Rank = tuple[int, int, str]


def _rank(event: Event) -> _Rank:
    # Of branches beside each other, what was sent earlier comes first.
    return (event.depth, event.origin_server_ts, event.event_id)


def _lowest(events: Iterable[Event], done: Collection[str]) -> _Rank:
    return min(_rank(event) for event in events if event.event_id not in done)
