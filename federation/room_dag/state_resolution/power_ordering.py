"""The reverse topological power ordering of state resolution 2."""

from collections.abc import Collection
from heapq import heapify, heappop, heappush

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR, PowerLevels
from federation.room_dag.room_versions import RoomRules
from federation.room_dag.state_resolution.interfaces import EventLookup


def sort_by_power(rules: RoomRules, event_ids: Collection[str], events: EventLookup) -> list[str]:
    """Earliest to latest: auth events before those that name them, else the more powerful sender first."""
    chosen = {event_id: events.get(event_id) for event_id in event_ids}
    named_by: dict[str, list[str]] = {event_id: [] for event_id in chosen}
    missing: dict[str, int] = {}
    for event_id, event in chosen.items():
        earlier = {auth_id for auth_id in event.auth_events if auth_id in chosen}
        missing[event_id] = len(earlier)
        for auth_id in earlier:
            named_by[auth_id].append(event_id)
    # "using Kahn's algorithm for topological sorting, and at each step selecting, among all the candidate
    # vertices, the smallest vertex using the above comparison relation"
    first = [event_id for event_id, count in missing.items() if count == 0]
    candidates = [_comparison_key(rules, chosen[event_id], events) for event_id in first]
    heapify(candidates)
    ordered = []
    while candidates:
        event_id = heappop(candidates)[2]
        ordered.append(event_id)
        for later in named_by[event_id]:
            missing[later] -= 1
            if missing[later] == 0:
                heappush(candidates, _comparison_key(rules, chosen[later], events))
    return ordered


def _comparison_key(rules: RoomRules, event: Event, events: EventLookup) -> tuple[int, int, str]:
    # "1. x's sender has greater power level than y's sender, when looking at their respective `auth_event`s;
    # or 2. ... x's `origin_server_ts` is less than y's `origin_server_ts`; or
    # 3. ... x's `event_id` is less than y's `event_id`."
    return -_sender_level(rules, event, events), event.origin_server_ts, event.event_id


def _sender_level(rules: RoomRules, event: Event, events: EventLookup) -> int:
    create: Event | None = None
    power_levels: Event | None = None
    for auth_id in event.auth_events:
        auth_event = events.get(auth_id)
        if auth_event.is_state and auth_event.state_pair == POWER_LEVELS_PAIR:
            power_levels = auth_event
        elif auth_event.is_state and auth_event.state_pair == CREATE_PAIR:
            create = auth_event
    if not rules.room_create_in_auth_events and event.type != "m.room.create":
        create = events.get("$" + event.room_id[1:])
    if create is None:
        # Only the create event itself names none; nothing can come before it anyway.
        return 0
    return PowerLevels(create, power_levels, rules).user_level(event.sender)
