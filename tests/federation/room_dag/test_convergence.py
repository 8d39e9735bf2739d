"""Whatever the forks, and in whatever order events arrive, all servers end with the same state.

Rooms are generated: users of several servers act while their servers cannot see each other, then see some of what
the others did, and act again.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.room_dag.room_versions import ROOM_VERSIONS, RoomRules
from federation.room_dag.state_resolution.interfaces import StateMap
from federation.room_dag.state_resolution.resolve import resolve
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, DAVE, RoomBuilder, given_room
from tests.support.forked_rooms import make_forked_room

USERS = [ALICE, BOB, CAROL, DAVE]
ACTIONS = ["join", "leave", "kick", "ban", "invite", "power", "join_rule", "topic", "message", "knock"]
GENERATED_ROOMS = int(os.environ.get("POPCUBE_FORKED_ROOMS", "25"))
SETTINGS = settings(derandomize=True, max_examples=40, deadline=None)


@dataclass(frozen=True)
class Step:
    """What a user does, on the heads that its server sees; `sees_others` merges all heads before."""

    actor: int
    action: str
    target: int
    number: int
    sees_others: bool


STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, 3),
        st.sampled_from(ACTIONS),
        st.integers(0, 3),
        st.integers(0, 7),
        st.booleans(),
    ),
    min_size=4,
    max_size=16,
)


class ForkedRoom:
    """A room and the heads that each user's server sees."""

    def __init__(self, version: str) -> None:
        self.room: RoomBuilder = given_room(version)
        for user_id in (BOB, CAROL):
            self.room.join(user_id)
        users = (
            {BOB: 50, CAROL: 25} if self.room.rules.privileged_creators else {ALICE: 100, BOB: 50, CAROL: 25}
        )
        self.room.set_power_levels(ALICE, users)
        start = self.room.events.get(self.room.heads[0])
        self.heads: list[list[Event]] = [[start] for _ in USERS]

    def run(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.sees_others:
                self.heads[step.actor] = self._without_ancestors(
                    event for heads in self.heads for event in heads
                )
            event = self._act(step)
            if event.event_id not in self.room.rejected:
                self.heads[step.actor] = [event]

    def _act(self, step: Step) -> Event:
        actor, target = USERS[step.actor], USERS[step.target]
        # Clocks of servers differ, and some agree to the millisecond.
        options: dict[str, Any] = {"prev": self.heads[step.actor], "timestamp": 2_000_000 + step.number}
        room = self.room
        match step.action:
            case "join" | "leave" | "knock":
                return room.set_membership(actor, actor, step.action, **options)
            case "kick":
                return room.set_membership(actor, target, "leave", **options)
            case "ban" | "invite":
                return room.set_membership(actor, target, step.action, **options)
            case "power":
                content = {"users": self._levels_changed(step, target), "ban": 50 - step.number}
                return room.append("m.room.power_levels", actor, content, "", **options)
            case "join_rule":
                join_rule = ["public", "invite", "knock"][step.number % 3]
                return room.append("m.room.join_rules", actor, {"join_rule": join_rule}, "", **options)
            case "topic":
                return room.append("m.room.topic", actor, {"topic": str(step.number)}, "", **options)
            case _:
                return room.say(actor, **options)

    def _levels_changed(self, step: Step, target: str) -> dict[str, int]:
        state = self.room.state_before([event.event_id for event in self.heads[step.actor]])
        users = dict(self.room.events.get(state["m.room.power_levels", ""]).content["users"])
        if not (self.room.rules.privileged_creators and target == ALICE):
            users[target] = step.number * 10
        return users

    def _without_ancestors(self, events: Iterable[Event]) -> list[Event]:
        chosen = list({event.event_id: event for event in events}.values())
        pending = [parent for event in chosen for parent in event.prev_events]
        ancestors: set[str] = set()
        while pending:
            event_id = pending.pop()
            if event_id not in ancestors:
                ancestors.add(event_id)
                pending.extend(self.room.events.get(event_id).prev_events)
        return [event for event in chosen if event.event_id not in ancestors]


class Replica(RoomBuilder):
    """A server that receives the events of a room one by one."""

    def __init__(self, rules: RoomRules, events: Iterable[Event]) -> None:
        first, *others = events
        self._first = first
        super().__init__(rules.version)
        for event in others:
            self.receive(event)

    def append(self, *args: Any, **options: Any) -> Event:
        self.add(self._first)
        self.heads = (self._first.event_id,)
        return self._first

    def receive(self, event: Event) -> None:
        self.add(event)
        if event.event_id not in self.rejected:
            self.heads = (*(each for each in self.heads if each not in event.prev_events), event.event_id)


def shuffled(events: Sequence[Event], random: Random) -> list[Event]:
    """The events in a random order in which prev and auth events come before those that name them."""
    waiting = list(events)
    random.shuffle(waiting)
    known: set[str] = set()
    ordered = []
    while waiting:
        for event in waiting:
            if known.issuperset(event.prev_events) and known.issuperset(event.auth_events):
                ordered.append(event)
                known.add(event.event_id)
                waiting.remove(event)
                break
    return ordered


class ConvergenceTests(SynchronousTestCase):
    def check(self, version: str, steps: list[Step], seed: int) -> None:
        forked = ForkedRoom(version)
        forked.run(steps)
        room = forked.room
        events = list(room.events.by_id.values())
        expected: tuple[StateMap, set[str], set[str]] | None = None
        random = Random(seed)
        for _ in range(3):
            replica = Replica(room.rules, shuffled(events, random))
            outcome = (dict(replica.state), replica.rejected, set(replica.heads))
            expected = expected or outcome
            self.assertEqual(outcome, expected)
            self.assertEqual(replica.rejected, room.rejected)
        # The ends of all branches at once, in any order, as plain dicts and with duplicates.
        ends = [dict(room.state_after(event)) for heads in forked.heads for event in heads]
        first = resolve(room.rules, ends, room.events, rejected=room.rejected)
        random.shuffle(ends)
        again = resolve(room.rules, [*ends, ends[0]], room.events, rejected=room.rejected)
        self.assertEqual(first, again)
        self.check_state(room, first, ends)

    def test_generated_rooms_are_the_same_in_any_order(self) -> None:
        for seed in range(GENERATED_ROOMS):
            made = make_forked_room(seed)
            room, case = made.builder, f"seed {seed}, version {made.version}"
            for order in range(3):
                replica = Replica(room.rules, [room.create, *made.shuffled(Random(order))])
                self.assertEqual(replica.rejected, room.rejected, case)
                self.assertEqual(dict(replica.state_after(made.events[-1])), dict(made.state), case)
            self.check_state(room, made.state, [dict(made.state)])

    def check_state(self, room: RoomBuilder, state: StateMap, ends: list[dict[tuple[str, str], str]]) -> None:
        for pair in {pair for end in ends for pair in end}:
            values = {end.get(pair) for end in ends}
            if len(values) == 1:
                self.assertIn(state[pair], values)
        for pair, event_id in state.items():
            self.assertEqual(room.events.get(event_id).state_pair, pair)
        self.assertEqual(state["m.room.create", ""], room.create.event_id)


def _add_version(version: str) -> None:
    @SETTINGS
    @given(STEPS, st.integers(0, 2**16))
    def test(self: ConvergenceTests, steps: list[Step], seed: int) -> None:
        self.check(version, steps, seed)

    name = f"test_any_order_of_delivery_gives_the_same_state_in_version_{version}"
    test.__name__ = name
    setattr(ConvergenceTests, name, test)


for _version in ROOM_VERSIONS:
    _add_version(_version)
