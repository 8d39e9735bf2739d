"""Rooms for tests in one line: a DAG of signed events, with the state at each of them.

``RoomBuilder("12")`` has a create event; ``given_room("12")`` is a public room with its creator joined.
``append`` builds an event on the heads (or on ``prev``), with the auth events of the state there, and keeps
it even if the auth rules reject it: see ``rejected``. Time is a counter.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import immutables
from nacl.signing import SigningKey

from federation.room_dag.auth_rules.auth_state_keys import auth_state_keys
from federation.room_dag.auth_rules.check_auth_events import check_auth_events
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event, EventTemplate, build_event, reference_hash_base64
from federation.room_dag.identifiers import domain_of
from federation.room_dag.room_versions import RoomRules, get_room_rules
from federation.room_dag.signing import EventSigner
from federation.room_dag.state_resolution.interfaces import StateMap
from federation.room_dag.state_resolution.resolve import resolve

ALICE = "@alice:one.example"
BOB = "@bob:two.example"
CAROL = "@carol:three.example"
DAVE = "@dave:two.example"

EMPTY_STATE: immutables.Map[tuple[str, str], str] = immutables.Map()


def make_signer(server_name: str) -> EventSigner:
    """A signer whose key depends on nothing but the name."""
    return EventSigner(server_name, "ed25519:test", SigningKey(sha256(server_name.encode()).digest()))


class KnownEvents:
    """An EventLookup over a dict."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.by_id = {event.event_id: event for event in events}

    def get(self, event_id: str, /) -> Event:
        return self.by_id[event_id]


class RoomBuilder:
    """A room on all of its servers at once."""

    def __init__(
        self,
        version: str,
        creator: str = ALICE,
        create_content: Mapping[str, Any] | None = None,
        name: str = "room",
    ) -> None:
        self.rules: RoomRules = get_room_rules(version)
        self.creator = creator
        self._name = name
        self.events = KnownEvents()
        self.rejected: set[str] = set()
        self.heads: tuple[str, ...] = ()
        self._state_after: dict[str, StateMap] = {}
        self._clock = 1_000_000
        content = {"room_version": version, **(create_content or {})}
        if self.rules.creator_in_content:
            content.setdefault("creator", creator)
        room_id = None if self.rules.room_id_is_create_hash else f"!{name}:{domain_of(creator)}"
        self.room_id = room_id
        self.create = self.append("m.room.create", creator, content, "")
        self.room_id = self.create.room_id

    def append(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any] | None = None,
        state_key: str | None = None,
        *,
        prev: Sequence[Event] | None = None,
        timestamp: int | None = None,
        redacts: str | None = None,
    ) -> Event:
        """Build an event, check it and make it a head unless it is rejected."""
        event = self.build(
            event_type, sender, content, state_key, prev=prev, timestamp=timestamp, redacts=redacts
        )
        self.add(event)
        if event.event_id not in self.rejected:
            self.heads = (*(each for each in self.heads if each not in event.prev_events), event.event_id)
        return event

    def build(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any] | None = None,
        state_key: str | None = None,
        *,
        prev: Sequence[Event] | None = None,
        timestamp: int | None = None,
        redacts: str | None = None,
    ) -> Event:
        """Build an event on the heads, or on `prev`, without adding it to the room."""
        prev_events = self.heads if prev is None else tuple(event.event_id for event in prev)
        content = content or {}
        state = self.state_before(prev_events)
        keys = auth_state_keys(self.rules, event_type, sender, state_key, content)
        auth_events = [state[key] for key in keys if key in state]
        self._clock += 1
        template = EventTemplate(
            type=event_type,
            sender=sender,
            room_id=self.room_id,
            state_key=state_key,
            content=content,
            origin_server_ts=self._clock if timestamp is None else timestamp,
            depth=1 + max((self.events.get(each).depth for each in prev_events), default=0),
            prev_events=prev_events,
            auth_events=auth_events,
            redacts=redacts,
            reference_hashes={
                each: reference_hash_base64(self.events.get(each)) for each in (*prev_events, *auth_events)
            },
        )
        return build_event(template, self.rules, make_signer(domain_of(sender)), f"{self._name}{self._clock}")

    def add(self, event: Event) -> None:
        """Take an event whose prev and auth events are there, as a server does that receives it."""
        self.events.by_id[event.event_id] = event
        state = self.state_before(event.prev_events)
        if not self.is_allowed(event, state):
            self.rejected.add(event.event_id)
        elif event.is_state:
            changed: immutables.Map[tuple[str, str], str] = immutables.Map(state)
            state = changed.set(event.state_pair, event.event_id)
        self._state_after[event.event_id] = state

    def state_before(self, prev_events: Iterable[str]) -> StateMap:
        """The state in which an event with these prev events is checked."""
        states = [self._state_after[event_id] for event_id in prev_events]
        return resolve(self.rules, states, self.events, rejected=self.rejected) if states else EMPTY_STATE

    def state_after(self, event: Event) -> StateMap:
        """The state after an event."""
        return self._state_after[event.event_id]

    @property
    def state(self) -> StateMap:
        """The state of the room at its heads."""
        return self.state_before(self.heads)

    def find(self, event_type: str, state_key: str = "") -> Event | None:
        """The event of an entry of the current state."""
        event_id = self.state.get((event_type, state_key))
        return None if event_id is None else self.events.get(event_id)

    def join(self, user_id: str, **options: Any) -> Event:
        """A user joins."""
        return self.append("m.room.member", user_id, {"membership": "join"}, user_id, **options)

    def set_membership(self, sender: str, target: str, membership: str, **options: Any) -> Event:
        """A user changes the membership of another, or their own."""
        return self.append("m.room.member", sender, {"membership": membership}, target, **options)

    def set_power_levels(
        self, sender: str, users: Mapping[str, int], *, prev: Sequence[Event] | None = None, **levels: Any
    ) -> Event:
        """A user changes the power levels."""
        return self.append("m.room.power_levels", sender, {"users": dict(users), **levels}, "", prev=prev)

    def say(self, sender: str, body: str = "hello", **options: Any) -> Event:
        """A user sends a message."""
        return self.append("m.room.message", sender, {"msgtype": "m.text", "body": body}, **options)

    def is_allowed(self, event: Event, state: StateMap) -> bool:
        """Whether the rules allow an event in a state, and by its auth events."""

        def lookup(pair: tuple[str, str]) -> Event | None:
            event_id = state.get(pair)
            return None if event_id is None else self.events.get(event_id)

        try:
            check_auth_events(event, self.events.by_id, self.rejected)
            check_event_auth(event, lookup)
        except NotAllowed:
            return False
        return True


def given_room(version: str, creator: str = ALICE, join_rule: str = "public", **create: Any) -> RoomBuilder:
    """A room with its creator joined, power levels and a join rule."""
    room = RoomBuilder(version, creator, create)
    room.join(creator)
    room.set_power_levels(creator, {} if room.rules.privileged_creators else {creator: 100})
    room.append("m.room.join_rules", creator, {"join_rule": join_rule}, "")
    return room
