"""State resolution: scenarios, orderings, auth chains, and what it costs."""

from collections.abc import Collection, Iterable, Mapping
from itertools import permutations
from typing import Any

import immutables
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.room_dag.room_versions import ROOM_VERSIONS, get_room_rules
from federation.room_dag.state_resolution.auth_chains import WalkedAuthChains
from federation.room_dag.state_resolution.conflict import find_conflict
from federation.room_dag.state_resolution.mainline import sort_by_mainline
from federation.room_dag.state_resolution.power_ordering import sort_by_power
from federation.room_dag.state_resolution.resolve import resolve
from tests.federation.room_dag.builders import ALICE, BOB, CAROL, DAVE, KnownEvents, RoomBuilder, given_room

SINCE_2 = [version for version in ROOM_VERSIONS if version != "1"]
LEVELS = ("m.room.power_levels", "")
TOPIC = ("m.room.topic", "")


def merged(room: RoomBuilder, *ends: Event) -> Mapping[tuple[str, str], str]:
    """The resolved state where branches with these ends meet, the same in whatever order they are given."""
    states = [room.state_after(end) for end in ends]
    results = [
        resolve(room.rules, order, room.events, rejected=room.rejected) for order in permutations(states)
    ]
    assert all(dict(result) == dict(results[0]) for result in results)
    return results[0]


def membership(room: RoomBuilder, state: Mapping[tuple[str, str], str], user_id: str) -> str | None:
    return room.events.get(state["m.room.member", user_id]).membership


class ScenarioTests(SynchronousTestCase):
    def room(self, version: str, users: dict[str, int]) -> RoomBuilder:
        room = given_room(version)
        for user_id in (BOB, CAROL, DAVE):
            room.join(user_id)
        everyone = users if room.rules.privileged_creators else {ALICE: 100, **users}
        room.set_power_levels(ALICE, everyone)
        return room

    def test_ban_wins_over_what_the_banned_did_meanwhile(self) -> None:
        for version in SINCE_2:
            room = self.room(version, {BOB: 50})
            base = room.say(ALICE)
            ban = room.set_membership(ALICE, BOB, "ban", prev=[base])
            topic = room.append("m.room.topic", BOB, {"topic": "evil"}, "", prev=[base])
            later = room.append("m.room.topic", BOB, {"topic": "worse"}, "", prev=[topic])
            state = merged(room, ban, later)
            self.assertEqual(membership(room, state, BOB), "ban", version)
            self.assertNotIn(TOPIC, state, version)

    def test_demotion_wins_over_what_the_demoted_did_meanwhile(self) -> None:
        for version in SINCE_2:
            room = self.room(version, {BOB: 50})
            base = room.say(ALICE)
            demotion = room.set_power_levels(ALICE, {} if version == "12" else {ALICE: 100}, prev=[base])
            kick = room.set_membership(BOB, CAROL, "leave", prev=[base])
            self.assertEqual(room.rejected, set())
            state = merged(room, demotion, kick)
            self.assertEqual(state[LEVELS], demotion.event_id)
            self.assertEqual(membership(room, state, CAROL), "join", version)

    def test_ban_by_the_stronger_wins_over_an_earlier_change_by_the_banned(self) -> None:
        for version in SINCE_2:
            room = self.room(version, {BOB: 90, CAROL: 60})
            base = room.say(ALICE)
            users = self.users(version, {BOB: 90, CAROL: 60, DAVE: 10})
            weak = room.set_power_levels(CAROL, users, prev=[base])
            strong = room.set_membership(BOB, CAROL, "ban", prev=[base])
            self.assertEqual(room.rejected, set(), version)
            state = merged(room, weak, strong)
            self.assertEqual(membership(room, state, CAROL), "ban")
            self.assertNotEqual(state[LEVELS], weak.event_id)

    def test_what_all_states_have_does_not_delay_the_stronger(self) -> None:
        # The membership of the stronger user is later than that of the weaker one. As an event of both states it does
        # not come into the order, in which the weaker one's change would then be available first.
        for version in SINCE_2:
            room = self.room(version, {BOB: 60, CAROL: 90})
            base = room.say(ALICE)
            users = self.users(version, {BOB: 60, CAROL: 90, DAVE: 10})
            weak = room.set_power_levels(BOB, users, prev=[base])
            strong = room.set_membership(CAROL, BOB, "ban", prev=[base])
            state = merged(room, weak, strong)
            self.assertNotEqual(state[LEVELS], weak.event_id)
            self.assertEqual(membership(room, state, BOB), "ban")

    def users(self, version: str, users: dict[str, int]) -> dict[str, int]:
        return users if version == "12" else {ALICE: 100, **users}

    def test_of_two_topics_the_later_one_wins(self) -> None:
        for version in SINCE_2:
            room = self.room(version, {BOB: 50})
            base = room.say(ALICE)
            one = room.append("m.room.topic", BOB, {"topic": "1"}, "", prev=[base], timestamp=5_000_001)
            two = room.append("m.room.topic", ALICE, {"topic": "2"}, "", prev=[base], timestamp=5_000_000)
            self.assertEqual(merged(room, one, two)[TOPIC], one.event_id)

    def test_topic_based_on_newer_power_levels_wins_over_a_later_clock(self) -> None:
        # Where nothing conflicts about power levels, version 12 has no mainline in its partial state.
        for version in [each for each in SINCE_2 if each != "12"]:
            room = self.room(version, {BOB: 50})
            base = room.say(ALICE)
            old = room.append("m.room.topic", BOB, {"topic": "old"}, "", prev=[base], timestamp=9_000_000)
            levels = room.set_power_levels(ALICE, self.users(version, {BOB: 51}), prev=[base])
            new = room.append("m.room.topic", BOB, {"topic": "new"}, "", prev=[levels], timestamp=8_000_000)
            self.assertEqual(merged(room, old, new)[TOPIC], new.event_id)

    def test_leaving_by_oneself_is_no_power_event(self) -> None:
        # Power events go first: the topic would come too late.
        for version in SINCE_2:
            room = self.room(version, {BOB: 50})
            base = room.say(ALICE)
            topic = room.append("m.room.topic", BOB, {"topic": "x"}, "", prev=[base])
            left = room.set_membership(BOB, BOB, "leave", prev=[base])
            state = merged(room, topic, left)
            self.assertEqual(state.get(TOPIC), topic.event_id)
            self.assertEqual(membership(room, state, BOB), "leave")

    def test_three_branches(self) -> None:
        for version in ROOM_VERSIONS:
            room = self.room(version, {BOB: 50, CAROL: 50})
            base = room.say(ALICE)
            ends = [
                room.append("m.room.topic", BOB, {"topic": "b"}, "", prev=[base]),
                room.append("m.room.name", CAROL, {"name": "c"}, "", prev=[base]),
                room.set_membership(ALICE, DAVE, "leave", prev=[base]),
            ]
            state = merged(room, *ends)
            self.assertEqual({end.event_id for end in ends} - set(state.values()), set(), version)

    def test_entry_that_only_one_branch_has_is_kept_if_allowed(self) -> None:
        for version in ROOM_VERSIONS:
            room = self.room(version, {})
            base = room.say(ALICE)
            topic = room.append("m.room.topic", ALICE, {"topic": "x"}, "", prev=[base])
            self.assertEqual(merged(room, topic, room.say(BOB, prev=[base]))[TOPIC], topic.event_id)

    def test_rejected_auth_events_are_not_used(self) -> None:
        room = self.room("11", {BOB: 50})
        base = room.say(ALICE)
        one = room.append("m.room.topic", BOB, {"topic": "1"}, "", prev=[base])
        two = room.append("m.room.name", BOB, {"name": "2"}, "", prev=[base])
        states = [dict(room.state_after(one)), dict(room.state_after(two))]
        for state in states:
            del state["m.room.member", BOB]
        joined = room.state["m.room.member", BOB]
        self.assertIn(TOPIC, resolve(room.rules, states, room.events))
        self.assertNotIn(TOPIC, resolve(room.rules, states, room.events, rejected={joined}))


class Version12Tests(SynchronousTestCase):
    """What version 2.1 of the algorithm was made for."""

    def test_members_of_both_branches_stay_when_the_room_is_closed(self) -> None:
        room = given_room("12")
        joined = room.join(BOB)
        closed = room.append("m.room.join_rules", ALICE, {"join_rule": "invite"}, "")
        late = room.join(CAROL, prev=[joined])
        state = merged(room, closed, late)
        self.assertEqual(membership(room, state, BOB), "join")
        self.assertEqual(state["m.room.join_rules", ""], closed.event_id)
        self.assertNotIn(("m.room.member", CAROL), state)

    def test_old_state_does_not_come_back(self) -> None:
        # Power levels 1 <- 2 <- 3; a server that knows only 1 and one that knows 3 meet. Event 2 is on the path.
        room = given_room("12")
        room.join(BOB)
        first = room.set_power_levels(ALICE, {BOB: 50})
        second = room.set_power_levels(ALICE, {BOB: 60})
        third = room.set_power_levels(BOB, {BOB: 55})
        self.assertEqual(room.rejected, set())
        state = merged(room, first, third)
        self.assertEqual(state[LEVELS], third.event_id)
        chains = WalkedAuthChains(room.events)
        self.assertIn(second.event_id, chains.subgraph({first.event_id, third.event_id}))

    def test_members_are_not_checked_against_later_join_rules(self) -> None:
        # A server that forgot a member meets one that did not, after the room was closed.
        for version in ("11", "12"):
            room = given_room(version)
            joined = room.join(BOB)
            room.join(CAROL)
            room.append("m.room.join_rules", ALICE, {"join_rule": "invite"}, "")
            state = dict(room.state)
            without = {pair: event_id for pair, event_id in state.items() if event_id != joined.event_id}
            resolved = resolve(room.rules, [state, without], room.events)
            self.assertEqual(("m.room.member", BOB) in resolved, version == "12")

    def test_events_between_conflicted_ones_are_replayed(self) -> None:
        # Both states have a topic that was set under the second power levels, one of them was reset to the first:
        # the third are allowed after the second, but not after the first.
        for version in ("11", "12"):
            room = given_room(version)
            room.join(BOB)
            first, second, third = (
                self.levels(room, version, sender, level)
                for sender, level in ((ALICE, 50), (ALICE, 60), (BOB, 55))
            )
            room.append("m.room.topic", BOB, {"topic": "x"}, "", prev=[second])
            self.assertEqual(room.rejected, set())
            state = {**room.state_after(third), **room.state}
            states = [{**state, LEVELS: first.event_id}, {**state, LEVELS: third.event_id}]
            expected = third if version == "12" else first
            self.assertEqual(resolve(room.rules, states, room.events)[LEVELS], expected.event_id)

    def levels(self, room: RoomBuilder, version: str, sender: str, level: int) -> Event:
        return room.set_power_levels(sender, {BOB: level} if version == "12" else {ALICE: 100, BOB: level})

    def test_creators_order_before_all_others(self) -> None:
        room = given_room("12", additional_creators=[BOB])
        room.join(BOB)
        room.join(CAROL)
        room.set_power_levels(ALICE, {CAROL: 1000})
        base = room.say(ALICE)
        weak = room.append("m.room.join_rules", CAROL, {"join_rule": "knock"}, "", prev=[base], timestamp=1)
        strong = room.append("m.room.join_rules", BOB, {"join_rule": "invite"}, "", prev=[base], timestamp=2)
        ids = {weak.event_id, strong.event_id}
        self.assertEqual(sort_by_power(room.rules, ids, room.events), [strong.event_id, weak.event_id])


class Version1Tests(SynchronousTestCase):
    def test_of_other_entries_the_deepest_wins(self) -> None:
        room = given_room("1")
        base = room.say(ALICE)
        shallow = room.append("m.room.topic", ALICE, {"topic": "1"}, "", prev=[base], timestamp=9_000_000)
        deep = room.append("m.room.topic", ALICE, {"topic": "2"}, "", prev=[room.say(ALICE, prev=[base])])
        self.assertEqual(merged(room, shallow, deep)[TOPIC], deep.event_id)

    def test_each_pass_sees_the_results_of_those_before(self) -> None:
        room = given_room("1")
        for user_id in (BOB, CAROL):
            room.join(user_id)
        room.set_power_levels(ALICE, {ALICE: 100, BOB: 50})
        left = room.set_membership(CAROL, CAROL, "leave")
        # Either way Bob has 50 and the room is public, but until both are resolved nothing says so.
        levels = room.set_power_levels(ALICE, {ALICE: 100, BOB: 50}, ban=60, prev=[left])
        other = room.say(ALICE, prev=[left])
        rule = room.append("m.room.join_rules", BOB, {"join_rule": "public"}, "", prev=[other])
        rejoined = room.join(CAROL, prev=[rule])
        topic = room.append("m.room.topic", BOB, {"topic": "x"}, "", prev=[rejoined])
        shallow = room.append("m.room.topic", ALICE, {"topic": "y"}, "", prev=[levels])
        self.assertEqual(room.rejected, set())
        state = merged(room, topic, shallow)
        self.assertEqual(state[LEVELS], levels.event_id)
        self.assertEqual(state["m.room.join_rules", ""], rule.event_id)
        self.assertEqual(state["m.room.member", CAROL], rejoined.event_id)
        self.assertEqual(state[TOPIC], topic.event_id)

    def test_power_levels_are_followed_as_long_as_they_are_allowed(self) -> None:
        room = given_room("1")
        room.join(BOB)
        room.set_power_levels(ALICE, {ALICE: 100, BOB: 60})
        base = room.say(ALICE)
        demotion = room.set_power_levels(ALICE, {ALICE: 100, BOB: 10}, prev=[base])
        deep = room.say(ALICE, prev=[base])
        change = room.set_power_levels(BOB, {ALICE: 100, BOB: 50}, prev=[deep])
        self.assertEqual(room.rejected, set())
        self.assertEqual(merged(room, demotion, change)[LEVELS], demotion.event_id)

    def test_members_are_checked_against_the_resolved_join_rules(self) -> None:
        room = given_room("1")
        base = room.say(ALICE)
        closed = room.append("m.room.join_rules", ALICE, {"join_rule": "invite"}, "", prev=[base])
        joined = room.join(BOB, prev=[base])
        left = room.set_membership(BOB, BOB, "leave", prev=[joined])
        # The first of several member events is taken as it is: that is what version 1 got wrong.
        self.assertEqual(membership(room, merged(room, closed, joined), BOB), "join")
        self.assertEqual(membership(room, merged(room, closed, left), BOB), "leave")

    def test_members_after_one_that_is_not_allowed_are_not_tried(self) -> None:
        room = given_room("1")
        room.join(CAROL)
        base = room.set_membership(CAROL, CAROL, "leave")
        closed = room.append("m.room.join_rules", ALICE, {"join_rule": "invite"}, "", prev=[base])
        joined = room.join(CAROL, prev=[base])
        invited = room.set_membership(ALICE, CAROL, "invite", prev=[room.say(ALICE, prev=[base])])
        self.assertEqual(membership(room, merged(room, closed, invited), CAROL), "invite")
        self.assertEqual(membership(room, merged(room, closed, joined, invited), CAROL), "leave")

    def test_what_only_some_states_have_is_no_conflict(self) -> None:
        room = given_room("1")
        base = room.set_power_levels(ALICE, {ALICE: 100, BOB: 100})
        joined = room.join(BOB, prev=[base])
        levels = room.set_power_levels(BOB, {ALICE: 100, BOB: 100, CAROL: 50}, prev=[joined])
        # On this branch Bob is unknown. Nobody contradicts that he has joined, so his event is allowed.
        other = room.say(ALICE, prev=[base])
        self.assertEqual(room.rejected, set())
        state = merged(room, other, levels)
        self.assertEqual(state[LEVELS], levels.event_id)
        self.assertEqual(membership(room, state, BOB), "join")

    def test_oldest_is_kept_if_none_is_allowed(self) -> None:
        room = given_room("1")
        room.join(BOB)
        room.set_power_levels(ALICE, {ALICE: 100, BOB: 50})
        base = room.say(ALICE)
        first = room.append("m.room.topic", BOB, {"topic": "1"}, "", prev=[base])
        second = room.append("m.room.topic", BOB, {"topic": "2"}, "", prev=[room.say(BOB, prev=[base])])
        states = [dict(room.state_after(each)) for each in (first, second)]
        for state in states:
            state["m.room.member", BOB] = room.set_membership(ALICE, BOB, "ban", prev=[base]).event_id
        self.assertEqual(resolve(room.rules, states, room.events)[TOPIC], first.event_id)


class ResultTests(SynchronousTestCase):
    def test_nothing_to_resolve(self) -> None:
        rules = get_room_rules("12")
        self.assertEqual(resolve(rules, [], KnownEvents()), {})
        state = {("a", ""): "$a"}
        self.assertIs(resolve(rules, [state], KnownEvents()), state)
        self.assertIs(resolve(rules, [state, state, dict(state)], KnownEvents()), state)

    def test_result_has_the_type_of_the_first_state_and_nothing_is_changed(self) -> None:
        for version in ROOM_VERSIONS:
            room = given_room(version)
            base = room.say(ALICE)
            ends = [room.append("m.room.topic", ALICE, {"topic": topic}, "", prev=[base]) for topic in "ab"]
            states = [room.state_after(end) for end in ends]
            plain = [dict(state) for state in states]
            copies = [dict(state) for state in states]
            result = resolve(room.rules, states, room.events)
            self.assertIsInstance(result, immutables.Map)
            from_plain = resolve(room.rules, plain, room.events)
            self.assertIsInstance(from_plain, dict)
            self.assertEqual(dict(result), from_plain)
            self.assertEqual([dict(state) for state in states], copies)
            self.assertEqual(plain, copies)

    def test_conflict_is_what_is_not_the_same_everywhere(self) -> None:
        pairs = [("t", letter) for letter in "abcd"]
        one = {pairs[0]: "$a", pairs[1]: "$b", pairs[2]: "$c"}
        two = {pairs[0]: "$a", pairs[1]: "$x", pairs[3]: "$d"}
        shared: immutables.Map[tuple[str, str], str] = immutables.Map(one)
        cases: list[list[Mapping[tuple[str, str], str]]] = [[one, two, one], [two, one], [shared, two]]
        for states in cases:
            conflict = find_conflict(states)
            self.assertEqual(
                {pair: set(holders) for pair, holders in conflict.candidates.items()},
                {pairs[1]: {"$b", "$x"}, pairs[2]: {"$c"}, pairs[3]: {"$d"}},
            )
            for pair, holders in conflict.candidates.items():
                for event_id, bits in holders.items():
                    having = [state.get(pair) == event_id for state in states]
                    self.assertEqual([bool(bits >> at & 1) for at in range(len(states))], having)
            self.assertEqual(conflict.event_ids, {"$b", "$x", "$c", "$d"})
            self.assertEqual(list(conflict.unconflicted_ids()), ["$a"])
            self.assertEqual(
                find_conflict([{pairs[0]: "$a"}, {pairs[1]: "$b"}]).candidates.keys(), {pairs[0], pairs[1]}
            )
            settled = conflict.settle({pairs[0]: "$other", pairs[1]: "$x"})
            self.assertEqual(dict(settled), {pairs[0]: "$a", pairs[1]: "$x"})


class CountingEvents(KnownEvents):
    def __init__(self, events: Iterable[Event]) -> None:
        super().__init__(events)
        self.asked = 0

    def get(self, event_id: str, /) -> Event:
        self.asked += 1
        return super().get(event_id)


class CostTests(SynchronousTestCase):
    def test_work_does_not_grow_with_the_state_if_only_topics_conflict(self) -> None:
        asked = []
        for size in (10, 2000):
            room = given_room("12")
            filler = {("org.example.item", str(number)): f"$filler{number}" for number in range(size)}
            base = room.say(ALICE)
            ends = [room.append("m.room.topic", ALICE, {"topic": topic}, "", prev=[base]) for topic in "ab"]
            events = CountingEvents(room.events.by_id.values())
            states = [{**room.state_after(end), **filler} for end in ends]
            # The filler events do not even exist.
            self.assertIn(TOPIC, resolve(room.rules, states, events))
            asked.append(events.asked)
        self.assertEqual(asked[0], asked[1])
        self.assertLess(asked[0], 100)

    def test_shared_ancestors_are_walked_once(self) -> None:
        for version in ("11", "12"):
            room = given_room(version)
            create = [room.create.event_id] if version == "11" else []
            state = dict(room.state)
            names = [state[LEVELS], state["m.room.member", ALICE]]
            for number in range(16):
                # Each names the two before: there are thousands of paths.
                event = fake_event(room, f"$rung{number}", [*create, *names[-2:]], origin_server_ts=number)
                room.events.by_id[event.event_id] = event
                names.append(event.event_id)
            events = CountingEvents(room.events.by_id.values())
            states = [{**state, LEVELS: names[-1]}, state, {**state, LEVELS: names[-3]}]
            resolve(room.rules, states, events)
            self.assertLess(events.asked, 1200)

    def test_long_chains_do_not_exhaust_the_stack(self) -> None:
        room = RoomBuilder("11")
        room.join(ALICE)
        levels = room.set_power_levels(ALICE, {ALICE: 100})
        events = room.events
        previous = levels
        for number in range(5000):
            previous = fake_event(room, f"$levels{number}", [room.create.event_id, previous.event_id])
            events.by_id[previous.event_id] = previous
        state = dict(room.state)
        states = [{**state, LEVELS: previous.event_id}, state]
        self.assertEqual(resolve(room.rules, states, events)[LEVELS], previous.event_id)


def fake_event(room: RoomBuilder, event_id: str, auth_events: list[str], **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": event_id,
        "room_id": room.create.room_id,
        "type": "m.room.power_levels",
        "sender": ALICE,
        "state_key": "",
        "content": {"users": {ALICE: 100}},
        "origin_server_ts": 1,
        "depth": 1,
        "prev_events": (),
        "auth_events": tuple(auth_events),
        "redacts": None,
        "rules": room.rules,
        "json": b"",
    }
    return Event(**{**fields, **changes})


class OrderingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = RoomBuilder("11")
        self.create_id = self.room.create.event_id
        self.events = self.room.events

    def add(self, name: str, auth: str = "", **changes: Any) -> str:
        event_id = f"${name}"
        auth_events = [self.create_id, *(f"${letter}" for letter in auth)]
        self.events.by_id[event_id] = fake_event(self.room, event_id, auth_events, **changes)
        return event_id

    def levels(self, name: str, auth: str = "", **users: int) -> str:
        by_id = {{"alice": ALICE, "bob": BOB, "carol": CAROL}[user]: level for user, level in users.items()}
        return self.add(name, auth, content={"users": by_id})

    def sorted_by_power(self, *names: str) -> str:
        ids = [f"${name}" for name in names]
        results = {tuple(sort_by_power(self.room.rules, order, self.events)) for order in permutations(ids)}
        self.assertEqual(len(results), 1)
        return "".join(event_id[1:] for event_id in results.pop())

    def test_power_then_time_then_id(self) -> None:
        self.levels("p", bob=50, carol=60)
        self.add("a", "p", sender=BOB, origin_server_ts=1)
        self.add("b", "p", sender=CAROL, origin_server_ts=9)
        self.add("c", "p", sender=CAROL, origin_server_ts=8)
        self.add("d", "p", sender=CAROL, origin_server_ts=8)
        self.assertEqual(self.sorted_by_power("a", "b", "c", "d"), "cdba")

    def test_auth_events_come_before_those_that_name_them(self) -> None:
        self.levels("p", alice=100, bob=50)
        self.add("a", "p", sender=BOB, origin_server_ts=9)
        self.add("b", "pa", sender=ALICE, origin_server_ts=1)
        self.add("c", "p", sender=ALICE, origin_server_ts=10)
        self.assertEqual(self.sorted_by_power("a", "b", "c", "p"), "pcab")

    def test_power_is_that_of_the_own_auth_events(self) -> None:
        self.levels("p", bob=50, carol=60)
        self.levels("q", "p", bob=70, carol=60)
        self.add("a", "p", sender=CAROL, origin_server_ts=9)
        self.add("b", "q", sender=BOB, origin_server_ts=10)
        self.assertEqual(self.sorted_by_power("a", "b"), "ba")

    def test_creator_without_power_levels_has_100(self) -> None:
        self.levels("p", bob=99)
        self.add("a", "p", sender=BOB, origin_server_ts=1)
        self.add("m", type="m.room.member", sender=BOB)
        self.add("b", "m", sender=ALICE, origin_server_ts=9)
        self.add("c", sender=CAROL, origin_server_ts=0)
        self.assertEqual(self.sorted_by_power("a", "b", "c"), "bac")

    def sorted_by_mainline(self, levels: str | None, *names: str) -> str:
        ids = [f"${name}" for name in names]
        power_levels_id = None if levels is None else f"${levels}"
        results = {
            tuple(sort_by_mainline(order, power_levels_id, self.events)) for order in permutations(ids)
        }
        self.assertEqual(len(results), 1)
        return "".join(event_id[1:] for event_id in results.pop())

    def topic(self, name: str, auth: str = "", timestamp: int = 1) -> None:
        self.add(name, auth, type="m.room.topic", content={}, origin_server_ts=timestamp)

    def test_mainline_position_then_time_then_id(self) -> None:
        self.levels("p")
        self.levels("q", "p")
        self.levels("r", "q")
        self.topic("a", "r", 1)
        self.topic("b", "q", 9)
        self.topic("c", "p", 10)
        self.topic("d", "q", 8)
        self.topic("e", "q", 8)
        self.topic("f", "", 99)
        self.assertEqual(self.sorted_by_mainline("r", "a", "b", "c", "d", "e", "f"), "fcdeba")

    def test_levels_of_other_branches_count_where_they_meet_the_mainline(self) -> None:
        self.levels("p")
        self.levels("q", "p")
        self.levels("x", "p")
        self.levels("y", "x")
        self.topic("a", "y", 9)
        self.topic("b", "q", 1)
        self.topic("c", "p", 5)
        self.assertEqual(self.sorted_by_mainline("q", "a", "b", "c"), "cab")
        self.assertEqual(self.sorted_by_mainline("y", "a", "b", "c"), "bca")

    def test_events_on_the_mainline_are_placed_by_their_auth_events(self) -> None:
        self.levels("p")
        self.levels("q", "p")
        self.topic("a", "p", 5)
        self.topic("b", "q", 0)
        self.assertEqual(self.sorted_by_mainline("q", "q", "a", "b"), "qab")

    def test_without_power_levels_time_decides(self) -> None:
        self.levels("p")
        self.topic("a", "p", 2)
        self.topic("b", "", 3)
        self.topic("c", "p", 1)
        self.assertEqual(self.sorted_by_mainline(None, "a", "b", "c"), "cab")


@st.composite
def auth_graphs(draw: st.DrawFn) -> list[list[int]]:
    """For each event the earlier events that it names."""
    size = draw(st.integers(2, 12))
    return [
        draw(st.lists(st.integers(0, max(index - 1, 0)), max_size=3 if index else 0)) for index in range(size)
    ]


class AuthChainTests(SynchronousTestCase):
    """The walks, against the definitions."""

    def setUp(self) -> None:
        self.room = RoomBuilder("11")

    def walk(self, graph: list[list[int]]) -> tuple[WalkedAuthChains, list[set[str]]]:
        events = KnownEvents(
            fake_event(self.room, f"${index}", [f"${parent}" for parent in parents])
            for index, parents in enumerate(graph)
        )
        chains: list[set[str]] = []
        for parents in graph:
            chains.append(set().union(*({f"${parent}"} | chains[parent] for parent in parents)))
        return WalkedAuthChains(events), chains

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(auth_graphs(), st.data())
    def test_difference(self, graph: list[list[int]], data: st.DataObject) -> None:
        walked, chains = self.walk(graph)
        numbers = st.sets(st.integers(0, len(graph) - 1), max_size=3)
        unconflicted = data.draw(numbers)
        sets = data.draw(st.lists(numbers, min_size=2, max_size=3))

        def full_chain(state: Collection[int]) -> set[str]:
            return set().union(*(chains[index] for index in {*state, *unconflicted}))

        # What all states have is part of the chain of each.
        common = {f"${index}" for index in unconflicted}
        full: list[set[str]] = [full_chain(state) for state in sets]
        expected = full[0].union(*full) - full[0].intersection(*full)
        holders = {
            f"${index}": sum(1 << at for at, state in enumerate(sets) if index in state)
            for index in set().union(*sets)
        }
        found = walked.difference(holders, len(sets), lambda: [f"${index}" for index in unconflicted])
        self.assertEqual(found, expected - holders.keys() - common)

    @settings(derandomize=True, max_examples=300, deadline=None)
    @given(auth_graphs(), st.data())
    def test_subgraph(self, graph: list[list[int]], data: st.DataObject) -> None:
        walked, chains = self.walk(graph)
        conflicted = {f"${index}" for index in data.draw(st.sets(st.integers(0, len(graph) - 1)))}

        def is_on_path(index: int) -> bool:
            is_above = bool((chains[index] | {f"${index}"}) & conflicted)
            is_below = any(f"${index}" in chains[int(event_id[1:])] for event_id in conflicted)
            return f"${index}" in conflicted or (is_above and is_below)

        expected = {f"${index}" for index in range(len(graph)) if is_on_path(index)}
        self.assertEqual(walked.subgraph(conflicted), expected)
