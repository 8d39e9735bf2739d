"""Paging through history: /messages and /context."""

import random
from urllib.parse import quote

import orjson

from tests.popcube_server.rooms.rooms_case import V3, RoomsTestCase

VISIBILITIES = ("world_readable", "shared", "invited", "joined")


def _query(wanted: object) -> str:
    return "&filter=" + quote(orjson.dumps(wanted))


class MessagesTests(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.room = self.given_room(self.alice)

    def bodies(self, path: str) -> list[str]:
        page = self.room_get(self.alice, self.room, path)
        return [event["content"].get("body", event["type"]) for event in page["chunk"]]

    def test_pages_go_both_ways_and_end_at_the_edges(self) -> None:
        sent = [self.given_message(self.alice, self.room, str(number)) for number in range(25)]
        backward = [event["event_id"] for event in self.page_all(self.alice, self.room, "b", 7)]
        self.assertEqual(backward[:25], sent[::-1])
        forward = [event["event_id"] for event in self.page_all(self.alice, self.room, "f", 7)]
        self.assertEqual(forward, backward[::-1])
        first = self.room_get(self.alice, self.room, f"event/{quote(forward[0])}")
        self.assertEqual(first["type"], "m.room.create")

    def test_tokens_lead_on_from_where_a_page_ended_in_either_direction(self) -> None:
        for number in range(10):
            self.given_message(self.alice, self.room, str(number))
        page = self.room_get(self.alice, self.room, "messages?dir=b&limit=3")
        self.given_message(self.alice, self.room, "new")
        start, end = page["start"], page["end"]
        self.assertEqual(self.bodies(f"messages?dir=b&limit=2&from={end}"), ["6", "5"])
        self.assertEqual(self.bodies(f"messages?dir=f&limit=2&from={end}"), ["7", "8"])
        self.assertEqual(self.bodies(f"messages?dir=f&from={start}"), ["new"])
        self.assertEqual(self.bodies(f"messages?dir=f&from={end}&to={start}"), ["7", "8", "9"])
        self.assertEqual(self.bodies(f"messages?dir=b&from={start}&to={end}"), ["9", "8", "7"])
        again = self.room_get(self.alice, self.room, f"messages?dir=b&from={start}&limit=3")
        self.assertEqual((again["start"], again["end"]), (start, end))

    def test_wrong_parameters_are_refused(self) -> None:
        path = f"{V3}/rooms/{self.room}/messages"
        self.assert_refused(self.get(path, self.alice), 400, "M_MISSING_PARAM")
        for query in ("dir=x", "dir=b&limit=x", "dir=b&limit=-1", "dir=b&from=x", "dir=b&to=x"):
            self.assert_refused(self.get(f"{path}?{query}", self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(f"{path}?dir=b&filter=x", self.alice), 400, "M_NOT_JSON")
        self.assert_refused(self.get(f"{path}?dir=b&filter=[]", self.alice), 400, "M_BAD_JSON")
        huge = "t" + "9" * 19
        self.assert_refused(self.get(f"{path}?dir=b&from={huge}", self.alice), 400, "M_INVALID_PARAM")
        for far in (str(2**63 - 1), str(-(2**63) + 1)):
            for direction in "bf":
                self.ok(self.get(f"{path}?dir={direction}&from=t{far}", self.alice))

    def test_limit_of_nothing_gives_nothing_and_a_way_on(self) -> None:
        page = self.room_get(self.alice, self.room, "messages?dir=b&limit=0")
        self.assertEqual((page["chunk"], page["end"]), ([], page["start"]))

    def test_filter_picks_events_from_far_back(self) -> None:
        topic = self.given_state(self.alice, self.room, "m.room.topic", {"topic": "far"})
        for number in range(120):
            self.given_message(self.alice, self.room, str(number))
        wanted = _query({"types": ["m.room.topic"]})
        found = self.page_all(self.alice, self.room, "b", 5, wanted)
        self.assertEqual([event["event_id"] for event in found], [topic])
        self.given_joined(self.bob, self.room)
        bobs = self.given_message(self.bob, self.room, "of bob")
        found = self.page_all(
            self.alice,
            self.room,
            "b",
            5,
            _query({"senders": [self.bob.user_id], "types": ["m.room.message"]}),
        )
        self.assertEqual([event["event_id"] for event in found], [bobs])
        self.assertEqual(self.page_all(self.alice, self.room, "b", 5, _query({"not_rooms": [self.room]})), [])

    def test_filter_picks_events_that_others_relate_to(self) -> None:
        self.given_joined(self.bob, self.room)
        first, second = (self.given_message(self.alice, self.room) for _ in range(2))
        self.react(self.bob, first)
        self.react(self.alice, second)
        for wanted, expected in (
            ({"related_by_rel_types": ["m.annotation"]}, {first, second}),
            ({"related_by_senders": [self.bob.user_id]}, {first}),
            ({"related_by_rel_types": ["m.thread"]}, set()),
            (
                {"related_by_rel_types": ["m.annotation"], "related_by_senders": [self.alice.user_id]},
                {second},
            ),
        ):
            found = self.page_all(self.alice, self.room, "b", 5, _query(wanted))
            self.assertEqual({event["event_id"] for event in found}, expected, wanted)

    def react(self, user: object, event_id: str) -> None:
        content = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": "+"}}
        self.given_event(user, self.room, content, "m.reaction")  # type: ignore[arg-type]

    def test_lazy_loading_brings_the_senders_as_they_were(self) -> None:
        self.given_joined(self.bob, self.room)
        self.given_message(self.bob, self.room)
        end = self.room_get(self.alice, self.room, "messages?dir=b&limit=1")["start"]
        content = {"membership": "join", "displayname": "Bobby"}
        self.given_state(self.bob, self.room, "m.room.member", content, self.bob.user_id)
        lazy = _query({"lazy_load_members": True})
        page = self.room_get(self.alice, self.room, f"messages?dir=b&limit=1&from={end}{lazy}")
        self.assertEqual([event["state_key"] for event in page["state"]], [self.bob.user_id])
        self.assertNotEqual(page["state"][0]["content"].get("displayname"), "Bobby")
        page = self.room_get(self.alice, self.room, f"messages?dir=b&limit=2{lazy}")
        self.assertEqual([event["content"].get("displayname") for event in page["state"]], ["Bobby"])
        self.assertNotIn("state", self.room_get(self.alice, self.room, "messages?dir=b"))

    def test_ignored_users_messages_are_left_out_and_their_state_is_not(self) -> None:
        self.given_joined(self.bob, self.room)
        self.given_message(self.bob, self.room, "spam")
        self.given_message(self.alice, self.room, "ham")
        self.given_ignored(self.alice, self.bob)
        self.assertEqual(self.bodies("messages?dir=b&limit=2"), ["ham", "m.room.member"])

    def test_every_event_that_one_may_see_comes_exactly_once_both_ways(self) -> None:
        chance = random.Random(5)
        for version in ("12", "1"):
            room = self.given_room(self.alice, room_version=version)
            events = [event["event_id"] for event in self.page_all(self.alice, room, "f", 100)]
            is_in = False
            for number in range(60):
                step = chance.random()
                if step < 0.15:
                    self.act(self.bob, room, "leave" if is_in else "join")
                    is_in = not is_in
                elif step < 0.3:
                    content = {"history_visibility": chance.choice(VISIBILITIES)}
                    self.given_state(self.alice, room, "m.room.history_visibility", content)
                else:
                    self.given_message(self.alice, room, str(number))
            self.given_state(
                self.alice, room, "m.room.history_visibility", {"history_visibility": "world_readable"}
            )
            events = [event["event_id"] for event in self.page_all(self.alice, room, "f", 100)]
            seen = [event_id for event_id in events if self.sees(self.bob, room, event_id)]
            self.assertTrue(0 < len(seen) < len(events))
            for limit in (1, 2, 7, 1000):
                forward = [event["event_id"] for event in self.page_all(self.bob, room, "f", limit)]
                backward = [event["event_id"] for event in self.page_all(self.bob, room, "b", limit)]
                self.assertEqual(forward, seen)
                self.assertEqual(backward, seen[::-1])


class ContextTests(RoomsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.room = self.given_room(self.alice)
        self.events = [self.given_message(self.alice, self.room, str(number)) for number in range(9)]

    def test_event_stands_between_its_neighbours(self) -> None:
        context = self.room_get(self.alice, self.room, f"context/{quote(self.events[4])}?limit=4")
        self.assertEqual(context["event"]["event_id"], self.events[4])
        self.assertEqual([event["event_id"] for event in context["events_before"]], self.events[3:1:-1])
        self.assertEqual([event["event_id"] for event in context["events_after"]], self.events[5:7])
        before = self.room_get(self.alice, self.room, f"messages?dir=b&limit=1&from={context['start']}")
        after = self.room_get(self.alice, self.room, f"messages?dir=f&limit=1&from={context['end']}")
        self.assertEqual(before["chunk"][0]["event_id"], self.events[1])
        self.assertEqual(after["chunk"][0]["event_id"], self.events[7])

    def test_without_neighbours_the_event_is_given_alone(self) -> None:
        context = self.room_get(self.alice, self.room, f"context/{quote(self.events[4])}?limit=0")
        self.assertEqual((context["events_before"], context["events_after"]), ([], []))
        after = self.room_get(self.alice, self.room, f"messages?dir=f&limit=1&from={context['end']}")
        self.assertEqual(after["chunk"][0]["event_id"], self.events[5])

    def test_state_is_that_of_the_last_event(self) -> None:
        self.given_state(self.alice, self.room, "m.room.topic", {"topic": "later"})
        types = [
            event["type"]
            for event in self.room_get(self.alice, self.room, f"context/{quote(self.events[0])}?limit=2")[
                "state"
            ]
        ]
        self.assertIn("m.room.create", types)
        self.assertNotIn("m.room.topic", types)
        types = [
            event["type"]
            for event in self.room_get(self.alice, self.room, f"context/{quote(self.events[8])}")["state"]
        ]
        self.assertIn("m.room.topic", types)

    def test_lazy_loading_gives_the_senders_only(self) -> None:
        self.given_joined(self.bob, self.room)
        message = self.given_message(self.alice, self.room)
        path = f"context/{quote(message)}?limit=0"
        everybody = self.room_get(self.alice, self.room, path)["state"]
        senders = self.room_get(self.alice, self.room, path + _query({"lazy_load_members": True}))["state"]
        self.assertEqual(_members(everybody), {self.alice.user_id, self.bob.user_id})
        self.assertEqual(_members(senders), {self.alice.user_id})

    def test_hidden_and_unknown_events_are_not_found(self) -> None:
        path = f"{V3}/rooms/{self.room}/context/"
        self.assert_refused(self.get(path + quote(self.events[0]), self.bob), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(path + "$unknown", self.alice), 404, "M_NOT_FOUND")


def _members(state: list[dict[str, str]]) -> set[str]:
    return {event["state_key"] for event in state if event["type"] == "m.room.member"}
