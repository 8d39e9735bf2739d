"""Each condition of push rules, on events that just do and just do not match."""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.event import Event
from popcube_server.services.property_path import parse_property_path
from popcube_server.services.push.conditions import Me, parse_condition
from popcube_server.services.push.event_view import EventView
from tests.popcube_server.services.push.push_case import ALICE, BOB, CREATOR, FakeRoom, make_event

TOPIC = make_event({"topic": "Lunch plans", "n": 1, "t": True, "none": None}, "m.room.topic", BOB, "")
BODY = make_event({"msgtype": "m.text", "body": "An exciting triple-whammy", "m\\x": "y", "a": {"b.c": "d"}})
LISTS = make_event({"m.mentions": {"user_ids": [BOB, 1, True, None, 1.0]}, "not": "@list"})

MATCHES: tuple[tuple[Mapping[str, Any], Event, bool], ...] = (
    ({"kind": "event_match", "key": "content.topic", "pattern": "lunc?*"}, TOPIC, True),
    ({"kind": "event_match", "key": "content.topic", "pattern": "plans"}, TOPIC, False),
    ({"kind": "event_match", "key": "content.missing", "pattern": "*"}, TOPIC, False),
    ({"kind": "event_match", "key": "content.n", "pattern": "*"}, TOPIC, False),
    ({"kind": "event_match", "key": "content.none", "pattern": "*"}, TOPIC, False),
    ({"kind": "event_match", "key": "content", "pattern": "*"}, TOPIC, False),
    ({"kind": "event_match", "key": "state_key", "pattern": ""}, TOPIC, True),
    ({"kind": "event_match", "key": "state_key", "pattern": ""}, BODY, False),
    ({"kind": "event_match", "key": "state_key", "pattern": "*"}, BODY, False),
    ({"kind": "event_match", "key": "type", "pattern": "M.ROOM.topic"}, TOPIC, True),
    ({"kind": "event_match", "key": "type.x", "pattern": "*"}, TOPIC, False),
    ({"kind": "event_match", "key": "sender", "pattern": "@bob:*"}, TOPIC, True),
    ({"kind": "event_match", "key": "room_id", "pattern": "!room"}, TOPIC, True),
    ({"kind": "event_match", "key": "content.body", "pattern": "ex*ple"}, BODY, True),
    ({"kind": "event_match", "key": "content.body", "pattern": "whammy"}, BODY, True),
    ({"kind": "event_match", "key": "content.body", "pattern": "hammy"}, BODY, False),
    ({"kind": "event_match", "key": r"content.m\\x", "pattern": "y"}, BODY, True),
    ({"kind": "event_match", "key": r"content.m\x", "pattern": "y"}, BODY, True),
    ({"kind": "event_match", "key": r"content.a.b\.c", "pattern": "d"}, BODY, True),
    ({"kind": "event_match", "key": "content.a.b.c", "pattern": "d"}, BODY, False),
    ({"kind": "event_match", "key": "content.body"}, BODY, False),
    ({"kind": "event_match", "key": "content.body", "pattern": 1}, BODY, False),
    ({"kind": "event_match", "pattern": "*"}, BODY, False),
    ({"kind": "event_property_is", "key": "content.t", "value": True}, TOPIC, True),
    ({"kind": "event_property_is", "key": "content.t", "value": 1}, TOPIC, False),
    ({"kind": "event_property_is", "key": "content.n", "value": 1}, TOPIC, True),
    ({"kind": "event_property_is", "key": "content.n", "value": True}, TOPIC, False),
    ({"kind": "event_property_is", "key": "content.n", "value": "1"}, TOPIC, False),
    ({"kind": "event_property_is", "key": "content.none", "value": None}, TOPIC, True),
    ({"kind": "event_property_is", "key": "content.missing", "value": None}, TOPIC, False),
    ({"kind": "event_property_is", "key": "content.topic", "value": "lunch plans"}, TOPIC, False),
    ({"kind": "event_property_is", "key": "content.topic", "value": "Lunch plans"}, TOPIC, True),
    ({"kind": "event_property_is", "key": "content.a", "value": {"b.c": "d"}}, BODY, False),
    ({"kind": "event_property_is", "key": "content.missing"}, BODY, False),
    ({"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": BOB}, LISTS, True),
    (
        {"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": ":one"},
        LISTS,
        False,
    ),
    ({"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": 1}, LISTS, True),
    ({"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": None}, LISTS, True),
    (
        {"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": False},
        LISTS,
        False,
    ),
    ({"kind": "event_property_contains", "key": "content.not", "value": "@"}, LISTS, False),
    ({"kind": "room_member_count", "is": "3"}, BODY, True),
    ({"kind": "room_member_count", "is": "==3"}, BODY, True),
    ({"kind": "room_member_count", "is": "<3"}, BODY, False),
    ({"kind": "room_member_count", "is": "<=3"}, BODY, True),
    ({"kind": "room_member_count", "is": ">2"}, BODY, True),
    ({"kind": "room_member_count", "is": ">=4"}, BODY, False),
    ({"kind": "room_member_count", "is": "=3"}, BODY, False),
    ({"kind": "room_member_count", "is": " 3"}, BODY, False),
    ({"kind": "room_member_count", "is": 3}, BODY, False),
    ({"kind": "room_member_count"}, BODY, False),
    ({"kind": "sender_notification_permission", "key": "room"}, BODY, False),
    ({"kind": "sender_notification_permission", "key": "jam"}, BODY, True),
    ({"kind": "sender_notification_permission"}, BODY, False),
    ({"kind": "org.example.unknown"}, BODY, False),
    ({}, BODY, False),
)

NAMES = (
    ("Whammy", True),
    ("triple-whammy", True),
    ("hammy", False),
    ("An", True),
    (".", False),
    ("", False),
    (None, False),
)


class ConditionTests(SynchronousTestCase):
    def test_conditions_hold_as_the_specification_says(self) -> None:
        room = FakeRoom(levels={"notifications": {"jam": 0}})
        for condition, event, expected in MATCHES:
            with self.subTest(condition=condition):
                parsed = parse_condition(condition, ALICE)
                self.assertIs(parsed.holds(EventView(event, room), Me(False, False, None)), expected)

    def test_power_level_decides_who_may_notify(self) -> None:
        condition = parse_condition({"kind": "sender_notification_permission", "key": "room"}, ALICE)
        me = Me(False, False, None)
        for levels, sender, expected in (
            ({}, BOB, False),
            ({"users": {BOB: 50}}, BOB, True),
            ({"users": {BOB: 50}, "notifications": {"room": 51}}, BOB, False),
            ({"notifications": {"room": 0}}, BOB, True),
            ({}, CREATOR, True),
        ):
            with self.subTest(levels=levels):
                view = EventView(make_event({}, sender=sender), FakeRoom(levels=levels))
                self.assertIs(condition.holds(view, me), expected)

    def test_display_names_are_found_as_words(self) -> None:
        condition = parse_condition({"kind": "contains_display_name"}, ALICE)
        for name, expected in NAMES:
            with self.subTest(name=name):
                self.assertIs(condition.holds(EventView(BODY, FakeRoom()), Me(False, False, name)), expected)

    def test_paths_are_unescaped(self) -> None:
        path = parse_property_path(r"content.m\.relates_to.rel_type")
        self.assertEqual(path, ("content", "m.relates_to", "rel_type"))
        self.assertEqual(parse_property_path(r"a\\.b"), ("a\\", "b"))
        self.assertEqual(parse_property_path(r"a\x.b\\x"), (r"a\x", "b\\x"))
        self.assertEqual(parse_property_path("a\\"), ("a\\",))
        self.assertEqual(parse_property_path(""), ("",))
