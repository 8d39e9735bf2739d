"""What an event means to the members of its room: classes of equal rules against each member by itself."""

from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from federation.rooms.outcomes import PushOutcome
from popcube_server.services.push.compiled_rules import compile_rules, default_compiled_rules
from popcube_server.services.push.default_rules import KINDS
from popcube_server.services.push.push_outcomes import PushOutcomes
from popcube_server.services.push.rule_set import Place, RuleSet, UserRule
from storage.change import Change, LogEntry
from storage.events import HIGHLIGHT, NOTIFY, StoreEvent
from storage.memberships import MembershipChange
from tests.popcube_server.services.push.push_case import (
    ALICE,
    BOB,
    CREATOR,
    ROOM,
    FakeMemberRules,
    FakeRoom,
    make_event,
)

T = TypeVar("T")

LOUD = NOTIFY | HIGHLIGHT
CAROL = "@carol:one.example"
STRANGER = "@stranger:two.example"
MENTION = {"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [ALICE]}}


def quiet(rule_id: str) -> UserRule:
    return UserRule(rule_id, ())


def loud(rule_id: str, **options: Any) -> UserRule:
    return UserRule(rule_id, ("notify", {"set_tweak": "highlight"}), **options)


class PushCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.rules = FakeMemberRules({ROOM: [ALICE, BOB, CREATOR]})
        self.outcomes = PushOutcomes(self.rules, "one.example", 100)
        self.room = FakeRoom()

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def give(self, user_id: str, *rules: tuple[str, UserRule]) -> None:
        rule_set = self.rules.rule_sets.get(user_id, RuleSet())
        for kind, rule in rules:
            rule_set = rule_set.put(kind, rule, Place())
        self.rules.rule_sets[user_id] = rule_set

    def evaluate(self, event: Event, room: FakeRoom | None = None, also: Collection[str] = ()) -> PushOutcome:
        self.result(self.outcomes.prepare(ROOM, also))
        return self.outcomes.evaluate(event, room or self.room)

    def personal(self, event: Event, room: FakeRoom | None = None) -> Mapping[str, int]:
        return {push.user_id: push.push for push in self.evaluate(event, room).personal}

    def publish(self, kind: str, key: tuple[str, ...], change: Change | None = None) -> None:
        self.outcomes.follow([LogEntry(1, kind, key, change)])

    def publish_join(self, user_id: str) -> None:
        join = StoreEvent(
            ROOM, "$join", "m.room.member", user_id, user_id, b"{}", None,
            memberships=(MembershipChange(user_id, "join", "$join"),),
        )  # fmt: skip
        self.publish("event", (ROOM, "$join"), join)


class DefaultRuleTests(PushCase):
    def test_events_notify_as_the_default_rules_say(self) -> None:
        two = FakeRoom({ALICE: None, BOB: None})
        for event, room, expected in (
            (make_event({"msgtype": "m.text", "body": "x"}), self.room, NOTIFY),
            (make_event({"msgtype": "m.text", "body": "x"}), two, NOTIFY),
            (make_event({"msgtype": "m.notice", "body": "x"}), self.room, 0),
            (make_event({"ciphertext": "x"}, "m.room.encrypted"), self.room, NOTIFY),
            (make_event({}, "m.call.invite"), self.room, NOTIFY),
            (make_event({"name": "x"}, "m.room.name", state_key=""), self.room, 0),
            (make_event({}, "m.room.tombstone", state_key=""), self.room, LOUD),
            (make_event({}, "m.room.tombstone"), self.room, 0),
            (make_event({}, "m.reaction"), self.room, 0),
            (make_event({}, "m.room.server_acl", state_key=""), self.room, 0),
            (make_event({"m.relates_to": {"rel_type": "m.replace"}, "body": "x"}), self.room, 0),
            (make_event({"membership": "join"}, "m.room.member", state_key=BOB), self.room, 0),
            (make_event({"m.mentions": {"room": True}}), self.room, NOTIFY),
            (make_event({"m.mentions": {"room": True}}, sender=CREATOR), self.room, LOUD),
            (make_event({"m.mentions": {"room": 1}}, sender=CREATOR), self.room, NOTIFY),
            (make_event({"body": "@room alice"}, sender=CREATOR), self.room, NOTIFY),
            (make_event({}, "org.example.other"), self.room, 0),
        ):
            with self.subTest(event=event):
                self.assertEqual(self.evaluate(event, room), PushOutcome(expected, ()))

    def test_mention_is_personal(self) -> None:
        outcome = self.evaluate(make_event(MENTION))
        self.assertEqual(outcome.default, NOTIFY)
        (push,) = outcome.personal
        self.assertEqual((push.user_id, push.push), (ALICE, LOUD))
        self.assertEqual(
            orjson.loads(push.actions),
            ["notify", {"set_tweak": "sound", "value": "default"}, {"set_tweak": "highlight"}],
        )

    def test_mention_of_oneself_or_a_stranger_or_a_remote_user_is_nothing(self) -> None:
        room = FakeRoom({ALICE: None, BOB: None, STRANGER: None})
        mentions = {"user_ids": [BOB, CAROL, STRANGER, 7, None, BOB]}
        self.assertEqual(self.personal(make_event({"m.mentions": mentions}), room), {})

    def test_malformed_mentions_are_nothing(self) -> None:
        malformed: tuple[Any, ...] = (None, [], "x", {"user_ids": ALICE}, {"user_ids": [[ALICE]]})
        for mentions in malformed:
            with self.subTest(mentions=mentions):
                self.assertEqual(self.personal(make_event({"m.mentions": mentions})), {})

    def test_invite_notifies_only_the_invited(self) -> None:
        invite = make_event({"membership": "invite"}, "m.room.member", state_key=CAROL)
        self.assertEqual(self.evaluate(invite).default, 0)
        self.assertEqual(self.personal(invite), {CAROL: NOTIFY})

    def test_notice_that_mentions_stays_quiet(self) -> None:
        self.assertEqual(self.evaluate(make_event({**MENTION, "msgtype": "m.notice"})), PushOutcome(0, ()))

    def test_default_rules_are_the_same_for_everybody(self) -> None:
        for user_id in (ALICE, BOB):
            self.assertEqual(compile_rules(RuleSet(), user_id, frozenset()), default_compiled_rules())


class OwnRuleTests(PushCase):
    def test_muted_room_is_quiet_even_for_mentions(self) -> None:
        mute = UserRule(ROOM, (), ({"kind": "event_match", "key": "room_id", "pattern": ROOM},))
        self.give(ALICE, ("override", mute))
        self.assertEqual(self.personal(make_event(MENTION)), {ALICE: 0})

    def test_room_rule_leaves_mentions(self) -> None:
        self.give(ALICE, ("room", quiet(ROOM)))
        self.assertEqual(self.personal(make_event({"body": "x"})), {ALICE: 0})
        self.assertEqual(self.personal(make_event(MENTION)), {ALICE: LOUD})

    def test_rules_about_other_rooms_change_nothing(self) -> None:
        self.give(ALICE, ("room", quiet("!other")), ("sender", loud("@other:one.example")))
        self.assertEqual(self.personal(make_event({"body": "x"})), {})

    def test_keyword_is_found_by_words(self) -> None:
        self.give(ALICE, ("content", loud("cake", pattern="cake*lie")))
        self.assertEqual(self.personal(make_event({"body": "the CAKE is a lie"})), {ALICE: LOUD})
        self.assertEqual(self.personal(make_event({"body": "pancake is a lie"})), {})

    def test_sender_rule(self) -> None:
        self.give(ALICE, ("sender", quiet(BOB)))
        self.assertEqual(self.personal(make_event({"msgtype": "m.text", "body": "x"})), {ALICE: 0})
        self.assertEqual(self.personal(make_event({"body": "x"}, sender=CREATOR)), {})

    def test_sender_never_gets_anything(self) -> None:
        self.give(BOB, ("content", loud("x", pattern="x")))
        self.assertEqual(self.personal(make_event({"body": "x"})), {})
        self.assertEqual(self.personal(make_event({"body": "x"}, sender=CREATOR)), {BOB: LOUD})

    def test_who_left_gets_nothing(self) -> None:
        self.give(ALICE, ("content", loud("x", pattern="x")))
        self.assertEqual(self.personal(make_event({"body": "x"}), FakeRoom({BOB: None, CREATOR: None})), {})

    def test_display_name_condition_asks_each_member(self) -> None:
        self.give(ALICE, ("underride", loud("name", conditions=({"kind": "contains_display_name"},))))
        self.give(CREATOR, ("underride", loud("name", conditions=({"kind": "contains_display_name"},))))
        self.assertEqual(self.personal(make_event({"body": "hello alice"})), {ALICE: LOUD})

    def test_master_rule_silences_all(self) -> None:
        self.rules.rule_sets[ALICE] = RuleSet().set_enabled("override", ".m.rule.master", True)
        self.assertEqual(self.personal(make_event(MENTION)), {ALICE: 0})

    def test_invited_users_rules_count(self) -> None:
        self.rules.rule_sets[CAROL] = RuleSet().set_enabled("override", ".m.rule.invite_for_me", False)
        invite = make_event({"membership": "invite"}, "m.room.member", state_key=CAROL)
        self.assertEqual(self.evaluate(invite, also=[CAROL]), PushOutcome(0, ()))

    def test_ignored_sender_is_not_heard(self) -> None:
        self.rules.ignored[ALICE] = frozenset((BOB,))
        self.assertEqual(self.personal(make_event(MENTION)), {ALICE: 0})
        self.assertEqual(self.personal(make_event(MENTION, sender=CREATOR)), {ALICE: LOUD})

    def test_equal_rules_are_asked_once(self) -> None:
        for user_id in (ALICE, CREATOR):
            self.give(user_id, ("content", loud("x", pattern="x")), ("room", quiet(f"!{user_id}")))
        projected = {
            compile_rules(rules, "@", frozenset()).in_room(ROOM) for rules in self.rules.rule_sets.values()
        }
        self.assertEqual(len(projected), 1)
        self.assertEqual(self.personal(make_event({"body": "x"})), {ALICE: LOUD, CREATOR: LOUD})


class PreparationTests(PushCase):
    def test_prepared_room_is_read_once(self) -> None:
        self.assertFalse(self.outcomes.is_prepared(ROOM))
        for _ in range(3):
            self.evaluate(make_event({"body": "x"}))
        self.assertTrue(self.outcomes.is_prepared(ROOM))
        self.assertEqual(self.rules.reads, 1)

    def test_unprepared_room_has_the_default_rules(self) -> None:
        self.give(ALICE, ("content", loud("x", pattern="x")))
        self.assertEqual(
            self.outcomes.evaluate(make_event({"body": "x"}), self.room), PushOutcome(NOTIFY, ())
        )

    def test_change_of_rules_is_followed(self) -> None:
        self.evaluate(make_event({"body": "x"}))
        self.give(ALICE, ("content", loud("x", pattern="x")))
        self.publish("push_rules", (ALICE,))
        self.assertFalse(self.outcomes.is_prepared(ROOM))
        self.assertEqual(self.personal(make_event({"body": "x"})), {ALICE: LOUD})
        del self.rules.rule_sets[ALICE]
        self.publish("push_rules", (ALICE,))
        self.assertEqual(self.personal(make_event({"body": "x"})), {})

    def test_change_of_ignored_users_is_followed(self) -> None:
        self.evaluate(make_event({"body": "x"}))
        self.rules.ignored[ALICE] = frozenset((BOB,))
        self.publish("account_data", (ALICE, "", "m.ignored_user_list"))
        self.assertEqual(self.personal(make_event({"body": "x"})), {ALICE: 0})

    def test_very_many_changes_are_followed(self) -> None:
        self.evaluate(make_event({"body": "x"}))
        self.give(ALICE, ("content", loud("x", pattern="x")))
        self.publish("push_rules", (ALICE,))
        for number in range(5_000):
            self.publish("push_rules", (f"@user{number}:one.example",))
        self.assertEqual(self.personal(make_event({"body": "x"})), {ALICE: LOUD})

    def test_new_member_is_known_before_the_join_is_committed(self) -> None:
        self.evaluate(make_event({"body": "x"}))
        self.give(CAROL, ("content", loud("x", pattern="x")))
        join = make_event({"membership": "join"}, "m.room.member", CAROL, CAROL)
        self.assertEqual(self.evaluate(join), PushOutcome(0, ()))
        self.assertFalse(self.outcomes.is_prepared(ROOM))
        room = FakeRoom({**self.room.members, CAROL: None})
        self.assertEqual(self.personal(make_event({"body": "x"}), room), {CAROL: LOUD})

    def test_new_member_is_known_from_the_log(self) -> None:
        self.evaluate(make_event({"body": "x"}))
        self.give(CAROL, ("content", loud("x", pattern="x")))
        self.rules.members[ROOM] = [*self.rules.members[ROOM], CAROL]
        self.publish_join(CAROL)
        room = FakeRoom({**self.room.members, CAROL: None})
        self.assertEqual(self.personal(make_event({"body": "x"}), room), {CAROL: LOUD})

    def test_remote_member_is_not_asked_for(self) -> None:
        self.evaluate(make_event({"body": "x"}))
        self.publish_join(STRANGER)
        self.assertTrue(self.outcomes.is_prepared(ROOM))


# Each member by itself, straight from the specification's words and without any of the code above but conditions'
# matching of single patterns: what classes and projections must agree with.


def naive_bits(rule_set: RuleSet, user_id: str, event: Event, room: FakeRoom) -> int:
    whole = rule_set.as_json(user_id)
    for kind in KINDS:
        for rule in whole[kind]:
            if rule["enabled"] and naive_matches(kind, rule, user_id, event, room):
                if "notify" not in rule["actions"]:
                    return 0
                return LOUD if {"set_tweak": "highlight"} in rule["actions"] else NOTIFY
    return 0


def naive_matches(kind: str, rule: Mapping[str, Any], user_id: str, event: Event, room: FakeRoom) -> bool:
    if kind == "room":
        return rule["rule_id"] == event.room_id
    if kind == "sender":
        return rule["rule_id"] == event.sender
    if kind == "content":
        return rule["pattern"] in str(event.content.get("body", "")).split()
    return all(naive_holds(condition, user_id, event, room) for condition in rule["conditions"])


def naive_holds(condition: Mapping[str, Any], user_id: str, event: Event, room: FakeRoom) -> bool:
    kind = condition["kind"]
    if kind == "contains_display_name":
        return room.members[user_id] in str(event.content.get("body", "")).split()
    if kind == "room_member_count":
        return condition["is"] == str(len(room.members))
    if kind == "sender_notification_permission":
        return event.sender == CREATOR
    fields = {
        "type": event.type,
        "sender": event.sender,
        "room_id": event.room_id,
        "state_key": event.state_key,
        "content.body": event.content.get("body"),
        "content.msgtype": event.content.get("msgtype"),
        "content.membership": event.content.get("membership"),
        r"content.m\.mentions.room": event.content.get("m.mentions", {}).get("room"),
        r"content.m\.mentions.user_ids": event.content.get("m.mentions", {}).get("user_ids"),
        r"content.m\.relates_to.rel_type": event.content.get("m.relates_to", {}).get("rel_type"),
    }
    value = fields[condition["key"]]
    if kind == "event_property_contains":
        return condition["value"] in (value or [])
    if kind == "event_property_is":
        return bool(value == condition["value"])
    if condition["key"] == "content.body":
        return condition["pattern"] in str(value or "").split()
    return bool(value == condition["pattern"])


USERS = (ALICE, BOB, CAROL, CREATOR)
NAMES = {ALICE: "alice", BOB: "bob", CAROL: "carol", CREATOR: "creator"}
WORDS = st.sampled_from(("alice", "carol", "cake", "lie"))
ACTIONS = st.sampled_from(((), ("notify",), ("notify", {"set_tweak": "highlight"})))
CONDITIONS = st.one_of(
    st.just({"kind": "contains_display_name"}),
    st.sampled_from(("2", "4")).map(lambda count: {"kind": "room_member_count", "is": count}),
    st.sampled_from((ROOM, "!other")).map(
        lambda room: {"kind": "event_match", "key": "room_id", "pattern": room}
    ),
    st.sampled_from(USERS).map(lambda user: {"kind": "event_match", "key": "state_key", "pattern": user}),
    st.sampled_from(USERS).map(
        lambda user: {
            "kind": "event_property_contains",
            "key": r"content.m\.mentions.user_ids",
            "value": user,
        }
    ),
    st.sampled_from(("m.room.message", "m.room.member")).map(
        lambda type_: {"kind": "event_match", "key": "type", "pattern": type_}
    ),
    WORDS.map(lambda word: {"kind": "event_match", "key": "content.body", "pattern": word}),
)


def make_rule(
    kind: str, target: str, word: str, conditions: list[Any], actions: Any, enabled: bool
) -> tuple[str, UserRule]:
    if kind == "content":
        return kind, UserRule(word, actions, pattern=word, enabled=enabled)
    if kind in ("override", "underride"):
        return kind, UserRule(word, actions, tuple(conditions), enabled=enabled)
    room = ROOM if target == BOB else "!other"
    return kind, UserRule(target if kind == "sender" else room, actions, enabled=enabled)


RULE = st.builds(
    make_rule,
    st.sampled_from(KINDS),
    st.sampled_from(USERS),
    WORDS,
    st.lists(CONDITIONS, max_size=2),
    ACTIONS,
    st.booleans(),
)


def make_rule_set(rules: Sequence[tuple[str, UserRule]], switched: Sequence[str]) -> RuleSet:
    rule_set = RuleSet()
    for kind, rule in rules:
        rule_set = rule_set.put(kind, rule, Place())
    for rule_id in switched:
        kind = "underride" if rule_id == ".m.rule.message" else "override"
        rule_set = rule_set.set_enabled(kind, rule_id, rule_id == ".m.rule.master")
    return rule_set


RULE_SETS = st.builds(
    make_rule_set,
    st.lists(RULE, max_size=4),
    st.lists(st.sampled_from((".m.rule.master", ".m.rule.is_user_mention", ".m.rule.message")), max_size=1),
)
EVENTS = st.builds(
    lambda body, mentioned, everybody, sender, message: (
        make_event(
            {"body": " ".join(body), "m.mentions": {"user_ids": mentioned, "room": everybody}}, sender=sender
        )
        if message
        else make_event({"membership": "join", "body": " ".join(body)}, "m.room.member", sender, mentioned[0])
    ),
    st.lists(WORDS, max_size=3),
    st.lists(st.sampled_from(USERS), min_size=1, max_size=2),
    st.booleans(),
    st.sampled_from(USERS),
    st.booleans(),
)


class ClassesAgreeWithMembersTests(PushCase):
    @settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.differing_executors])
    @given(st.lists(RULE_SETS, min_size=4, max_size=4), st.lists(EVENTS, min_size=1, max_size=4))
    def test_each_member_gets_what_its_rules_say(self, rule_sets: list[RuleSet], events: list[Event]) -> None:
        self.setUp()
        room = FakeRoom(NAMES)
        self.rules.members[ROOM] = USERS
        self.rules.rule_sets = dict(zip(USERS, rule_sets, strict=True))
        for event in events:
            outcome = self.evaluate(event, room)
            personal = {push.user_id: push.push for push in outcome.personal}
            self.assertEqual(len(personal), len(outcome.personal))
            for user_id in USERS:
                if user_id == event.sender:
                    self.assertNotIn(user_id, personal)
                else:
                    expected = naive_bits(self.rules.rule_sets[user_id], user_id, event, room)
                    self.assertEqual(personal.get(user_id, outcome.default), expected, (user_id, event))
