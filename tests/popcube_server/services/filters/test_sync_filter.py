"""Filters as values: what they let through, and what is refused."""

import time
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.errors import BadJson, InvalidParam, NotJson
from popcube_server.services.filters.event_filter import matches_wildcards
from popcube_server.services.filters.sync_filter import (
    NO_FILTER,
    parse_filter_json,
    parse_room_event_filter,
    parse_room_event_filter_json,
    parse_sync_filter,
    select_fields,
)
from popcube_server.services.property_path import parse_property_path
from tests.popcube_server.services.push.push_case import ALICE, BOB, ROOM, make_event

TEXT = make_event({"body": "x"})
PICTURE = make_event({"body": "x", "url": "mxc://one.example/x"})
NAME = make_event({"name": "x"}, "m.room.name", ALICE, "")

MATCHES: tuple[tuple[Mapping[str, Any], tuple[bool, bool, bool]], ...] = (
    ({}, (True, True, True)),
    ({"types": ["m.room.message"]}, (True, True, False)),
    ({"types": ["m.room.*"]}, (True, True, True)),
    ({"types": ["*.name"]}, (False, False, True)),
    ({"types": ["m.*.na*"]}, (False, False, True)),
    ({"types": ["*"]}, (True, True, True)),
    ({"types": []}, (False, False, False)),
    ({"types": ["m.room"]}, (False, False, False)),
    ({"types": ["M.ROOM.MESSAGE"]}, (False, False, False)),
    ({"not_types": ["m.room.mess*"]}, (False, False, True)),
    ({"not_types": []}, (True, True, True)),
    ({"types": ["m.room.*"], "not_types": ["m.room.name"]}, (True, True, False)),
    ({"senders": [ALICE]}, (False, False, True)),
    ({"senders": []}, (False, False, False)),
    ({"not_senders": [ALICE]}, (True, True, False)),
    ({"senders": [ALICE, BOB], "not_senders": [BOB]}, (False, False, True)),
    ({"rooms": [ROOM]}, (True, True, True)),
    ({"rooms": ["!other"]}, (False, False, False)),
    ({"rooms": [ROOM], "not_rooms": [ROOM]}, (False, False, False)),
    ({"contains_url": True}, (False, True, False)),
    ({"contains_url": False}, (True, False, True)),
    ({"contains_url": False, "types": ["m.room.message"]}, (True, False, False)),
)

WRONG: tuple[tuple[Any, type[Exception]], ...] = (
    ([], BadJson),
    ({"room": 1}, BadJson),
    ({"room": {"timeline": []}}, BadJson),
    ({"room": {"include_leave": 1}}, BadJson),
    ({"presence": "x"}, BadJson),
    ({"room": {"state": {"types": "x"}}}, BadJson),
    ({"room": {"state": {"types": [1]}}}, BadJson),
    ({"room": {"state": {"senders": ["alice"]}}}, InvalidParam),
    ({"room": {"state": {"rooms": ["#alias:x"]}}}, InvalidParam),
    ({"room": {"rooms": ["x"]}}, InvalidParam),
    ({"room": {"state": {"contains_url": "yes"}}}, BadJson),
    ({"room": {"state": {"lazy_load_members": None, "limit": True}}}, BadJson),
    ({"room": {"state": {"limit": "5"}}}, BadJson),
    ({"room": {"state": {"limit": -5}}}, InvalidParam),
    ({"room": {"state": {"types": ["*" * 21]}}}, InvalidParam),
    ({"room": {"state": {"types": ["x"] * 2001}}}, InvalidParam),
    ({"event_fields": "x"}, BadJson),
    ({"event_fields": ["x"] * 201}, InvalidParam),
    ({"event_format": 5}, InvalidParam),
)

FIELDS: tuple[tuple[list[str], Any], ...] = (
    (["type"], {"type": "t"}),
    (["content.a"], {"content": {"a": {"b": 1, "c": 2}}}),
    (["content.a.b"], {"content": {"a": {"b": 1}}}),
    (["content.a.b", "content.a.c"], {"content": {"a": {"b": 1, "c": 2}}}),
    (["content", "content.a.b"], {"content": {"a": {"b": 1, "c": 2}, "d.e": 3}}),
    (["content.a.b", "content"], {"content": {"a": {"b": 1, "c": 2}, "d.e": 3}}),
    ([r"content.d\.e"], {"content": {"d.e": 3}}),
    (["content.d.e", "missing", "type.x", "content.a.x"], {}),
    ([], {}),
)


class RoomEventFilterTests(SynchronousTestCase):
    def test_events_pass_as_the_specification_says(self) -> None:
        for body, expected in MATCHES:
            with self.subTest(body=body):
                compiled = parse_room_event_filter(body)
                self.assertEqual(tuple(map(compiled.matches, (TEXT, PICTURE, NAME))), expected)
                if compiled.is_unrestricted:
                    self.assertIsNone(compiled.predicate())
                    self.assertEqual(expected, (True, True, True))

    def test_filter_that_filters_nothing_says_so(self) -> None:
        harmless: tuple[Mapping[str, Any], ...] = (
            {},
            {"limit": 5},
            {"lazy_load_members": True},
            {"not_types": [], "not_rooms": []},
        )
        for body in harmless:
            self.assertTrue(parse_room_event_filter(body).is_unrestricted, body)
        choosy: tuple[Mapping[str, Any], ...] = (
            {"types": ["*"]},
            {"contains_url": False},
            {"related_by_rel_types": ["m.thread"]},
        )
        for body in choosy:
            self.assertFalse(parse_room_event_filter(body).is_unrestricted, body)
        self.assertTrue(parse_sync_filter({"room": {"timeline": {}}}).is_unrestricted)
        self.assertFalse(parse_sync_filter({"event_fields": ["type"]}).is_unrestricted)

    def test_options_are_read(self) -> None:
        compiled = parse_sync_filter(
            {
                "room": {
                    "include_leave": True,
                    "rooms": [ROOM],
                    "state": {"lazy_load_members": True, "include_redundant_members": True},
                    "timeline": {"limit": 7, "unread_thread_notifications": True},
                },
                "event_format": "federation",
            }
        )
        self.assertTrue(compiled.room.include_leave)
        self.assertTrue(compiled.room.matches_room(ROOM))
        self.assertFalse(compiled.room.matches_room("!other"))
        self.assertTrue(compiled.room.state.lazy_load_members)
        self.assertTrue(compiled.room.state.include_redundant_members)
        self.assertEqual(compiled.room.timeline.limit, 7)
        self.assertTrue(compiled.room.timeline.unread_thread_notifications)
        self.assertTrue(compiled.federation_format)

    def test_wrong_filters_are_refused(self) -> None:
        for body, error in WRONG:
            with self.subTest(body=str(body)[:100]):
                self.assertRaises(error, parse_sync_filter, body)

    def test_filters_in_queries_are_read(self) -> None:
        self.assertEqual(parse_filter_json("{}"), NO_FILTER)
        self.assertEqual(parse_room_event_filter_json('{"limit":3}').limit, 3)
        for text in ("{", "", '{"room":1}'):
            self.assertRaises((NotJson, BadJson), parse_filter_json, text)
        self.assertRaises(InvalidParam, parse_filter_json, '{"x":"' + "y" * 70_000 + '"}')

    def test_wildcards_take_no_time(self) -> None:
        started = time.process_time()
        self.assertFalse(matches_wildcards("a*" * 20 + "b", "a" * 100_000))
        self.assertTrue(matches_wildcards("a*" * 20, "a" * 100_000))
        self.assertLess(time.process_time() - started, 1.0)

    def test_star_does_not_let_its_neighbors_overlap(self) -> None:
        for pattern, text, expected in (
            ("ab*ba", "aba", False),
            ("ab*ba", "abba", True),
            ("a**b", "ab", True),
        ):
            self.assertIs(matches_wildcards(pattern, text), expected)


class FieldTests(SynchronousTestCase):
    def test_fields_are_selected(self) -> None:
        event = {"type": "t", "content": {"a": {"b": 1, "c": 2}, "d.e": 3}}
        for fields, expected in FIELDS:
            with self.subTest(fields=fields):
                paths = tuple(map(parse_property_path, fields))
                self.assertEqual(select_fields(event, paths), expected)
        self.assertEqual(event, {"type": "t", "content": {"a": {"b": 1, "c": 2}, "d.e": 3}})
