"""Everything that a sync tells goes on at the other site, with the token of the first: row 5 of failover.md.

One test for each section of an answer: something happens at one site, and a client that has its token asks the other.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from popcube_server.services.sync.tokens import SyncToken
from tests.popcube_server.rest.client.keys_case import KeysTestCase
from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase

V3 = "/_matrix/client/v3"
PARTS = ("position", "site", "to_device")
"""Of a sync token."""
SECTIONS = frozenset(
    (
        "account_data",
        "device_lists",
        "device_one_time_keys_count",
        "device_unused_fallback_key_types",
        "next_batch",
        "presence",
        "rooms",
        "to_device",
    )
)
"""Of a sync, each with a test below. Source: client-server API, GET /sync."""


class StreamsTests(SitesTestCase, KeysTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.given_user("alice"), self.given_user("bob")
        self.room_id = self.given_room(self.alice)
        self.given_joined(self.bob, self.room_id)
        self.settle()
        self.seen: set[str] = set()

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        where = "" if since is None else f"&since={since}"
        return self.ok(self.get(f"{V3}/sync?timeout=0{where}", user))

    def told_elsewhere(self, act: Callable[[], object]) -> Any:
        """What Bob is told at the other site of what happened here after his last sync here."""
        since = self.sync(self.bob)["next_batch"]
        self.settle()
        act()
        for _ in range(4):
            # Not so long that what passes has passed.
            self.clock.advance(0.6)
            self.network.flush()
        return self.sync(self.at_berta(self.bob), since)

    def room(self, answer: Any) -> Any:
        return answer["rooms"]["join"][self.room_id]

    def path(self, rest: str) -> str:
        return f"{V3}/rooms/{quote(self.room_id)}/{rest}"

    def test_a_token_has_these_parts_and_no_others(self) -> None:
        """A part that is added must be understood by the other sites, and have a test here."""
        self.assertEqual(tuple(SyncToken.__match_args__), PARTS)

    def test_an_answer_has_these_sections_and_no_others(self) -> None:
        answer = self.told_elsewhere(lambda: self.given_message(self.alice, self.room_id))
        first = self.sync(self.at_berta(self.bob))
        self.assertLessEqual({*answer, *first}, SECTIONS)

    def test_timeline_and_unread_counts(self) -> None:
        room = self.room(self.told_elsewhere(lambda: self.given_message(self.alice, self.room_id, "news")))
        self.assertEqual(room["timeline"]["events"][-1]["content"]["body"], "news")
        self.assertEqual(room["unread_notifications"]["notification_count"], 1)

    def test_state_and_members(self) -> None:
        carol = self.given_user("carol")
        room = self.room(self.told_elsewhere(lambda: self.given_joined(carol, self.room_id)))
        self.assertIn(carol.user_id, [event.get("state_key") for event in room["timeline"]["events"]])
        self.assertEqual(room["summary"]["m.joined_member_count"], 3)

    def test_receipts(self) -> None:
        event_id = self.given_message(self.bob, self.room_id)
        act = lambda: self.ok(self.post(self.path(f"receipt/m.read/{quote(event_id)}"), {}, self.alice))  # noqa: E731
        (event,) = self.room(self.told_elsewhere(act))["ephemeral"]["events"]
        self.assertIn(self.alice.user_id, event["content"][event_id]["m.read"])

    def test_typing(self) -> None:
        body = {"typing": True, "timeout": 30_000}
        path = self.path(f"typing/{quote(self.alice.user_id)}")
        (event,) = self.room(self.told_elsewhere(lambda: self.ok(self.put(path, body, self.alice))))[
            "ephemeral"
        ]["events"]
        self.assertEqual(event["content"]["user_ids"], [self.alice.user_id])

    def test_presence(self) -> None:
        body = {"presence": "unavailable", "status_msg": "away"}
        path = f"{V3}/presence/{quote(self.alice.user_id)}/status"
        answer = self.told_elsewhere(lambda: self.ok(self.put(path, body, self.alice)))
        told = {event["sender"]: event["content"] for event in answer["presence"]["events"]}
        self.assertEqual(told[self.alice.user_id].get("status_msg"), "away")

    def test_account_data_of_the_user_and_of_a_room(self) -> None:
        def act() -> None:
            user = f"{V3}/user/{quote(self.bob.user_id)}"
            self.ok(self.put(f"{user}/account_data/m.test", {"n": 1}, self.bob))
            self.ok(self.put(f"{user}/rooms/{quote(self.room_id)}/tags/u.test", {"order": 0.5}, self.bob))

        answer = self.told_elsewhere(act)
        self.assertIn("m.test", [event["type"] for event in answer["account_data"]["events"]])
        self.assertEqual([event["type"] for event in self.room(answer)["account_data"]["events"]], ["m.tag"])

    def test_push_rules(self) -> None:
        body = {"actions": ["notify"], "pattern": "word"}
        answer = self.told_elsewhere(
            lambda: self.ok(self.put(f"{V3}/pushrules/global/content/mine", body, self.bob))
        )
        self.assertIn("m.push_rules", [event["type"] for event in answer["account_data"]["events"]])

    def test_messages_to_devices(self) -> None:
        body = {"messages": {self.bob.user_id: {self.bob.device_id: {"n": 1}}}}
        answer = self.told_elsewhere(
            lambda: self.ok(self.put(f"{V3}/sendToDevice/m.test/1", body, self.alice))
        )
        self.assertEqual([event["content"] for event in answer["to_device"]["events"]], [{"n": 1}])

    def test_device_lists(self) -> None:
        answer = self.told_elsewhere(lambda: self.given_device_keys(self.alice))
        self.assertEqual(answer["device_lists"]["changed"], [self.alice.user_id])

    def test_counts_of_keys(self) -> None:
        self.given_device_keys(self.bob)
        keys = self.one_time_keys(self.bob, "A", "B")
        fallback = self.one_time_keys(self.bob, "F", fallback=True)
        answer = self.told_elsewhere(
            lambda: self.upload(self.bob, one_time_keys=keys, fallback_keys=fallback)
        )
        self.assertEqual(answer["device_one_time_keys_count"], {"signed_curve25519": 2})
        self.assertEqual(answer["device_unused_fallback_key_types"], ["signed_curve25519"])

    def test_invites_and_rooms_that_were_left(self) -> None:
        private = self.given_room(self.alice, preset="private_chat")

        def act() -> None:
            invite = f"{V3}/rooms/{quote(private)}/invite"
            self.ok(self.post(invite, {"user_id": self.bob.user_id}, self.alice))
            self.ok(self.post(self.path("kick"), {"user_id": self.bob.user_id}, self.alice))

        rooms = self.told_elsewhere(act)["rooms"]
        self.assertIn(private, rooms["invite"])
        self.assertIn(self.room_id, rooms["leave"])

    def test_knocks(self) -> None:
        rules = [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
        room_id = self.given_room(self.alice, initial_state=rules)
        answer = self.told_elsewhere(lambda: self.ok(self.post(f"{V3}/knock/{quote(room_id)}", {}, self.bob)))
        self.assertIn(room_id, answer["rooms"]["knock"])
