"""The rule about an event's own auth events: rule 3 of room version 12, rule 2 of the others."""

from collections.abc import Container, Mapping

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event


def check_auth_events(
    event: Event, auth_events: Mapping[str, Event], rejected: Container[str] = frozenset()
) -> None:
    """Raise NotAllowed if the event names auth events that it must not, or lacks the create event.

    `auth_events` has at least the events that it names; `rejected` are IDs of events that were rejected.
    """
    # Rule 1 decides about create events before this one is reached.
    if event.type == "m.room.create":
        return
    expected = auth_state_keys(event.rules, event.type, event.sender, event.state_key, event.content)
    seen: set[tuple[str, str]] = set()
    for event_id in event.auth_events:
        auth_event = auth_events.get(event_id)
        if auth_event is None:
            raise NotAllowed(f"the auth event {event_id} is unknown")
        _check_entry(event, auth_event, expected)
        # "If there are duplicate entries for a given `type` and `state_key` pair, reject."
        if auth_event.state_pair in seen:
            raise NotAllowed(f"two auth events are of the same type and state key: {auth_event.state_pair}")
        seen.add(auth_event.state_pair)
        # "If there are entries which were themselves rejected under the checks performed on receipt of a PDU,
        # reject."
        if event_id in rejected:
            raise NotAllowed(f"the auth event {event_id} was rejected")
    # Up to version 11: "If there is no `m.room.create` event among the entries, reject."
    if event.rules.room_create_in_auth_events and CREATE_PAIR not in seen:
        raise NotAllowed("the create event is not among the auth events")


def _check_entry(event: Event, auth_event: Event, expected: tuple[tuple[str, str], ...]) -> None:
    # "If there are entries whose `type` and `state_key` don't match those specified by the auth events
    # selection algorithm described in the server specification, reject."
    if not auth_event.is_state or auth_event.state_pair not in expected:
        raise NotAllowed(f"{auth_event.event_id} may not be an auth event of this event")
    # "If any event in `auth_events` has a `room_id` which does not match that of the event being authorised,
    # reject."
    if auth_event.room_id != event.room_id:
        raise NotAllowed(f"the auth event {auth_event.event_id} is of another room")
