"""Random rooms of servers that often cannot see each other: the same for the same seed, on every machine.

    room = make_forked_room(7, ForkedRoomOptions(version="10"))
    for event in room.shuffled(Random(1)):
        deliver(room.origin_of(event), decode_pdu(event))
    assert what_they_have == room.state

All events are properly signed: `room.keys` has the keys. Each one stands on what its server saw when it was sent. Some
are not allowed where they stand (`room.rejected`), as a server might send that obeys no rules. The last event stands on
all ends of the graph, so that whoever has all events has `room.state` after it, whatever came first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from nacl.encoding import Base64Encoder

from federation.room_dag.event import Event, sign_event
from federation.room_dag.event_format import MAX_PREV_EVENTS
from federation.room_dag.identifiers import domain_of
from federation.room_dag.room_versions import ROOM_VERSIONS
from federation.room_dag.state_resolution.interfaces import StateMap
from tests.federation.room_dag.builders import RoomBuilder, make_signer

SERVERS = ("one.example", "two.example", "three.example", "four.example")
START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class ForkedRoomOptions:
    """How a room is to be made."""

    version: str | None = None
    """None: chosen by the seed."""
    servers: Sequence[str] = SERVERS
    """The creator is of the first one."""
    users_per_server: int = 2
    steps: int = 40
    meeting: float = 0.25
    """How often a server sees what another one knows before it acts."""
    misbehavior: float = 0.05
    """How often an event is sent although the rules do not allow it."""
    visit: Callable[[RoomBuilder], None] = lambda room: None
    """Is called while the room is still public and has no forks, so that others can join, and stay."""


@dataclass(frozen=True)
class ForkedRoom:
    """A finished room."""

    version: str
    builder: RoomBuilder
    servers: tuple[str, ...]
    state: StateMap
    """After the last event."""

    @property
    def room_id(self) -> str:
        return str(self.builder.room_id)

    @property
    def create(self) -> Event:
        return self.builder.create

    @property
    def events(self) -> list[Event]:
        """In an order in which they can be delivered; the last one ends the room."""
        return list(self.builder.events.by_id.values())

    @property
    def rejected(self) -> frozenset[str]:
        """IDs of events that every server must reject."""
        return frozenset(self.builder.rejected)

    @property
    def memberships(self) -> dict[str, str]:
        """By user ID, as `state` has them."""
        return {
            pair[1]: self.builder.events.get(event_id).membership or "leave"
            for pair, event_id in self.state.items()
            if pair[0] == "m.room.member"
        }

    @property
    def keys(self) -> dict[str, tuple[str, str]]:
        """By server name, the ID of its signing key and the unpadded Base64 of the verify key."""
        signers = [make_signer(server) for server in self.servers]
        return {
            signer.server_name: (
                signer.key_id,
                signer.verify_key.encode(Base64Encoder).decode("ascii").rstrip("="),
            )
            for signer in signers
        }

    @staticmethod
    def origin_of(event: Event) -> str:
        """The server that made the event."""
        return domain_of(event.sender)

    def shuffled(self, chance: Random) -> list[Event]:
        """All events but the create event, in a random order in which each comes after what it names."""
        waiting = {event.event_id: event for event in self.events[1:]}
        needs = {
            event_id: {each for each in (*event.prev_events, *event.auth_events) if each in waiting}
            for event_id, event in waiting.items()
        }
        needed_by: dict[str, list[str]] = {}
        for event_id, named in needs.items():
            for each in named:
                needed_by.setdefault(each, []).append(event_id)
        ready = [event_id for event_id, named in needs.items() if not named]
        order = []
        while ready:
            event_id = ready.pop(chance.randrange(len(ready)))
            order.append(waiting[event_id])
            for each in needed_by.get(event_id, ()):
                needs[each].discard(event_id)
                if not needs[each]:
                    ready.append(each)
        return order


def make_forked_room(seed: int, options: ForkedRoomOptions = ForkedRoomOptions()) -> ForkedRoom:
    """The room of a seed."""
    chance = Random(seed)
    version = options.version or chance.choice(list(ROOM_VERSIONS))
    maker = _Maker(f"room{seed}", version, options, chance)
    for _ in range(options.steps):
        maker.step()
    return maker.finish()


class _Maker:
    def __init__(self, name: str, version: str, options: ForkedRoomOptions, chance: Random) -> None:
        self._chance = chance
        self._options = options
        self._servers = tuple(options.servers)
        self._users = {
            server: [f"@user{number}:{server}" for number in range(options.users_per_server)]
            for server in self._servers
        }
        self._creator = self._users[self._servers[0]][0]
        self._other_room = f"!{name}space:{self._servers[0]}"
        self._room = RoomBuilder(version, self._creator, {"name": name}, name)
        self._clock_ms = START_MS
        self._numbers = iter(range(1_000_000))
        self._begin()
        options.visit(self._room)
        last = self._room.events.get(self._room.heads[0])
        self._seen: dict[str, list[Event]] = {server: [last] for server in self._servers}
        self._skew_ms = {server: chance.choice((0, 0, 500, -500, 60_000)) for server in self._servers}

    def _begin(self) -> None:
        room, creator = self._room, self._creator
        room.join(creator)
        levels = {} if room.rules.privileged_creators else {creator: 100}
        for server in self._servers[1:]:
            levels[self._users[server][0]] = self._chance.choice((0, 50, 50, 100))
        room.set_power_levels(creator, levels)
        room.append("m.room.join_rules", creator, {"join_rule": "public"}, "")
        for server in self._servers:
            for user in self._users[server]:
                if user != creator and self._chance.random() < 0.8:
                    room.join(user)

    def step(self) -> None:
        """One server does something, on what it has seen."""
        chance = self._chance
        self._clock_ms += chance.choice((0, 1, 100, 5_000))
        server = chance.choice(self._servers)
        if chance.random() < self._options.meeting:
            other = chance.choice(self._servers)
            self._seen[server] = self._without_ancestors([*self._seen[server], *self._seen[other]])
        for _ in range(10):
            event = self._try(server)
            is_allowed = event is not None and self._is_allowed(event)
            if event is not None and (is_allowed or chance.random() < self._options.misbehavior):
                self._room.add(event)
                if is_allowed:
                    self._seen[server] = [event]
                return

    def finish(self) -> ForkedRoom:
        """Have the creator's server see everything, and say so."""
        room = self._room
        accepted = [event for event in room.events.by_id.values() if event.event_id not in room.rejected]
        ends = self._without_ancestors(accepted)
        while True:
            some, ends = ends[:MAX_PREV_EVENTS], ends[MAX_PREV_EVENTS:]
            last = room.say(self._creator, "the end", prev=some, timestamp=self._clock_ms + 100_000)
            assert last.event_id not in room.rejected
            if not ends:
                break
            ends.insert(0, last)
        return ForkedRoom(room.rules.version, room, self._servers, room.state_after(last))

    def _is_allowed(self, event: Event) -> bool:
        return self._room.is_allowed(event, self._room.state_before(event.prev_events))

    def _try(self, server: str) -> Event | None:
        actions: Sequence[Callable[[str], Event | None]] = (
            self._say,
            self._topic,
            self._topic,
            self._power,
            self._power,
            self._join_rule,
            self._join,
            self._join,
            self._leave,
            self._knock,
            self._invite,
            self._kick,
            self._kick,
            self._ban,
            self._ban,
            self._unban,
        )
        return self._chance.choice(actions)(self._chance.choice(self._users[server]))

    def _build(
        self, sender: str, event_type: str, content: Mapping[str, Any], state_key: str | None = None
    ) -> Event:
        server = domain_of(sender)
        return self._room.build(
            event_type,
            sender,
            content,
            state_key,
            prev=self._seen[server][:MAX_PREV_EVENTS],
            timestamp=self._clock_ms + self._skew_ms[server],
        )

    def _state(self, sender: str) -> StateMap:
        seen = self._seen[domain_of(sender)][:MAX_PREV_EVENTS]
        return self._room.state_before([event.event_id for event in seen])

    def _content(self, sender: str, event_type: str, state_key: str = "") -> Mapping[str, Any]:
        event_id = self._state(sender).get((event_type, state_key))
        return {} if event_id is None else self._room.events.get(event_id).content

    def _other(self) -> str:
        """Anybody but the creator, who stays, so that somebody can end the room."""
        return self._chance.choice(
            [user for users in self._users.values() for user in users if user != self._creator]
        )

    def _member(self, sender: str, target: str, membership: str) -> Event:
        # With something new in it, so that no two are the same event.
        content = {"membership": membership, "displayname": f"name {next(self._numbers)}"}
        return self._build(sender, "m.room.member", content, target)

    def _say(self, sender: str) -> Event:
        return self._build(sender, "m.room.message", {"msgtype": "m.text", "body": str(next(self._numbers))})

    def _topic(self, sender: str) -> Event:
        kind = self._chance.choice(("m.room.topic", "m.room.name"))
        return self._build(sender, kind, {kind.rpartition(".")[2]: str(next(self._numbers))}, "")

    def _power(self, sender: str) -> Event | None:
        target = self._other()
        content = dict(self._content(sender, "m.room.power_levels"))
        content["users"] = {**content.get("users", {}), target: self._chance.choice((0, 25, 50, 75, 100))}
        if self._chance.random() < 0.3:
            content[self._chance.choice(("ban", "kick", "invite", "state_default"))] = self._chance.choice(
                (0, 25, 50)
            )
        return self._build(sender, "m.room.power_levels", content, "")

    def _join_rule(self, sender: str) -> Event:
        rules = self._room.rules
        choices = ["public", "invite"]
        if rules.knocking:
            choices.append("knock")
        if rules.restricted_joins:
            choices += ["restricted", "restricted"]
        if rules.knock_restricted_joins:
            choices.append("knock_restricted")
        content: dict[str, Any] = {"join_rule": self._chance.choice(choices)}
        if content["join_rule"] in ("restricted", "knock_restricted"):
            content["allow"] = [{"type": "m.room_membership", "room_id": self._other_room}]
        return self._build(sender, "m.room.join_rules", content, "")

    def _join(self, sender: str) -> Event:
        join_rule = self._content(sender, "m.room.join_rules").get("join_rule")
        membership = self._content(sender, "m.room.member", sender).get("membership")
        if join_rule not in ("restricted", "knock_restricted") or membership in ("join", "invite"):
            return self._member(sender, sender, "join")
        # A server that sees the same vouches for the join.
        vouching = self._chance.choice([self._creator, self._other()])
        content = {
            "membership": "join",
            "join_authorised_via_users_server": vouching,
            "displayname": f"name {next(self._numbers)}",
        }
        event = self._build(sender, "m.room.member", content, sender)
        return sign_event(event, make_signer(domain_of(vouching)))

    def _leave(self, sender: str) -> Event | None:
        return None if sender == self._creator else self._member(sender, sender, "leave")

    def _knock(self, sender: str) -> Event | None:
        return self._member(sender, sender, "knock") if self._room.rules.knocking else None

    def _invite(self, sender: str) -> Event:
        return self._member(sender, self._other(), "invite")

    def _kick(self, sender: str) -> Event:
        return self._member(sender, self._other(), "leave")

    def _ban(self, sender: str) -> Event:
        return self._member(sender, self._other(), "ban")

    def _unban(self, sender: str) -> Event | None:
        state = self._state(sender)
        banned = [
            pair[1]
            for pair, event_id in state.items()
            if pair[0] == "m.room.member" and self._room.events.get(event_id).membership == "ban"
        ]
        return self._member(sender, self._chance.choice(sorted(banned)), "leave") if banned else None

    def _without_ancestors(self, events: Iterable[Event]) -> list[Event]:
        chosen = list({event.event_id: event for event in events}.values())
        pending = [parent for event in chosen for parent in event.prev_events]
        ancestors: set[str] = set()
        while pending:
            event_id = pending.pop()
            if event_id not in ancestors:
                ancestors.add(event_id)
                pending.extend(self._room.events.get(event_id).prev_events)
        return [event for event in chosen if event.event_id not in ancestors]
