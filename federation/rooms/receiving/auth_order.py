"""Many events of a room at once, in the order in which their auth events allow to judge them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import field

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.auth_rules.check_auth_events import check_auth_events
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(slots=True)
class Judged:
    """What became of the events; those in neither map name auth events that nobody has."""

    accepted: dict[str, Event] = field(default_factory=dict)
    rejected: dict[str, Event] = field(default_factory=dict)

    @property
    def decided(self) -> dict[str, Event]:
        return {**self.accepted, **self.rejected}


def in_auth_order(events: Mapping[str, Event]) -> list[Event]:
    """The events, each behind those of its auth events that are among them. Cycles are left out."""
    order: list[Event] = []
    waits_for: dict[str, int] = {}
    needed_by: dict[str, list[str]] = {}
    for event_id, event in events.items():
        needed = {auth_id for auth_id in event.auth_events if auth_id in events}
        if not event.rules.room_create_in_auth_events:
            # The create event is implied.
            needed |= {"$" + event.room_id[1:]} & (events.keys() - {event_id})
        waits_for[event_id] = len(needed)
        for auth_id in needed:
            needed_by.setdefault(auth_id, []).append(event_id)
    ready = [event_id for event_id, count in waits_for.items() if count == 0]
    while ready:
        event_id = ready.pop()
        order.append(events[event_id])
        for waiting in needed_by.get(event_id, ()):
            waits_for[waiting] -= 1
            if waits_for[waiting] == 0:
                ready.append(waiting)
    return order


def judge_by_auth_events(
    events: Mapping[str, Event], known: Mapping[str, Event], known_rejected: Iterable[str] = ()
) -> Judged:
    """Check each event against its own auth events; `known` were judged before.

    Events whose auth events are neither known nor among them are in neither answer: nothing can be said of them.
    """
    judged = Judged()
    rejected = set(known_rejected)
    for event in in_auth_order(events):
        auth_events = {}
        for auth_id in event.auth_events:
            auth_event = judged.accepted.get(auth_id) or judged.rejected.get(auth_id) or known.get(auth_id)
            if auth_event is not None:
                auth_events[auth_id] = auth_event
        if len(auth_events) < len(set(event.auth_events)):
            continue
        create = None
        if not event.rules.room_create_in_auth_events and event.type != "m.room.create":
            # From version 12 on the room's ID names the create event.
            create_id = "$" + event.room_id[1:]
            create = judged.accepted.get(create_id) or known.get(create_id)
            if create is None:
                continue
        if _is_allowed(event, auth_events, create, rejected):
            judged.accepted[event.event_id] = event
        else:
            judged.rejected[event.event_id] = event
            rejected.add(event.event_id)
    return judged


def _is_allowed(
    event: Event, auth_events: Mapping[str, Event], create: Event | None, rejected: set[str]
) -> bool:
    by_pair = {auth.state_pair: auth for auth in auth_events.values() if auth.is_state}
    if create is not None:
        by_pair[CREATE_PAIR] = create
    try:
        check_auth_events(event, auth_events, rejected)
        check_event_auth(event, by_pair.get)
    except NotAllowed:
        return False
    return True
