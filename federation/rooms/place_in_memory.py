"""The common case of an event from elsewhere, decided without the database: a message on top of one of the heads."""

from collections.abc import Callable, Mapping

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.auth_rules.check_auth_events import check_auth_events
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.rooms.live_room import Head, LiveRoom, Placement
from federation.rooms.relation import find_relation
from federation.rooms.room_state import StatePair

FindAccepted = Callable[[str], Event | None]
"""An event that is in memory, has its place in the room, and was not rejected."""


def place_in_memory(room: LiveRoom, event: Event, find: FindAccepted) -> Placement | None:
    """The placement of an event that is certainly allowed where it stands; None: look at it closely.

    What is soft failed is not asked: this is for events of which that is known.
    """
    head = _only_head_below(room, event)
    if (
        head is None
        or event.is_state
        or event.redacts is not None
        or find_relation(event.content) is not None
    ):
        return None
    events = _find_all(room, event, head, find)
    if events is None:
        return None
    try:
        _check(room, event, head, events)
    except NotAllowed:
        return None
    # A message in the place of a head with the same state: the room's state stays as it is.
    return Placement(head.branch, 0, room.current, {}, {}, after=head.branch, changed=())


def _only_head_below(room: LiveRoom, event: Event) -> Head | None:
    if len(event.prev_events) != 1:
        return None
    return next((head for head in room.heads if head.event_id == event.prev_events[0]), None)


def _pairs(event: Event, head: Head) -> dict[StatePair, str]:
    """What the rules look at in the state before the event."""
    pairs = auth_state_keys(event.rules, event.type, event.sender, event.state_key, event.content)
    entries = head.branch.entries
    return {pair: entries[pair] for pair in {*pairs, CREATE_PAIR} if pair in entries}


def _find_all(room: LiveRoom, event: Event, head: Head, find: FindAccepted) -> Mapping[str, Event] | None:
    found: dict[str, Event] = {}
    for event_id in {*event.auth_events, *_pairs(event, head).values(), room.state.entries[CREATE_PAIR]}:
        pending = room.pending.get(event_id)
        named = room.auth_events.get(event_id) or (pending.event if pending is not None else find(event_id))
        if named is None:
            return None
        found[event_id] = named
    return found


def _check(room: LiveRoom, event: Event, head: Head, events: Mapping[str, Event]) -> None:
    """Raises `NotAllowed`."""
    auth_events = {event_id: events[event_id] for event_id in event.auth_events}
    by_pair = {auth.state_pair: auth for auth in auth_events.values() if auth.is_state}
    if not event.rules.room_create_in_auth_events:
        # From version 12 on the room's ID names the create event.
        by_pair[CREATE_PAIR] = events[room.state.entries[CREATE_PAIR]]
    # 4. "Passes authorization rules based on the event's auth events, otherwise it is rejected."
    check_auth_events(event, auth_events, frozenset())
    check_event_auth(event, by_pair.get)
    # 5. "Passes authorization rules based on the state before the event, otherwise it is rejected."
    before = {pair: events[event_id] for pair, event_id in _pairs(event, head).items()}
    check_event_auth(event, before.get)
