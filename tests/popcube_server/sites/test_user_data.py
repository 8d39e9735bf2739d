"""What users do in rooms, on two sites: receipts, forgotten rooms, and requests that are repeated."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase


class UserDataOnSitesTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room_id = self.given_room(self.alice)
        self.given_joined(self.bob, self.room_id)
        self.settle()
        self.there = self.at_berta(self.alice)
        self.path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}"

    def send(self, user: TestUser, txn_id: str, body: str = "hello") -> str:
        content = {"msgtype": "m.text", "body": body}
        event_id: str = self.ok(self.put(f"{self.path}/send/m.room.message/{txn_id}", content, user))[
            "event_id"
        ]
        return event_id

    def texts(self, user: TestUser) -> list[str]:
        chunk = self.ok(self.get(f"{self.path}/messages?dir=b&limit=50", user))["chunk"]
        bodies = [event["content"].get("body") for event in chunk if event["type"] == "m.room.message"]
        return [body for body in bodies if body is not None]

    def room(self, user: TestUser) -> dict[str, Any]:
        answer = self.ok(self.get("/_matrix/client/v3/sync?timeout=0", user))
        room: dict[str, Any] = answer["rooms"]["join"][self.room_id]
        return room

    def receipts(self, user: TestUser) -> dict[str, str]:
        """By user, the event that they read."""
        events = self.room(user)["ephemeral"]["events"]
        contents = [event["content"] for event in events if event["type"] == "m.receipt"]
        return {
            user_id: event_id
            for content in contents
            for event_id, types in content.items()
            for user_id in types.get("m.read", {})
        }

    def test_a_send_that_is_repeated_at_the_other_site_finds_the_first_event(self) -> None:
        first = self.send(self.alice, "a")
        self.settle()
        self.assertEqual(self.send(self.there, "a"), first)
        self.settle()
        self.assertEqual(self.texts(self.alice), ["hello"])

    def test_a_device_that_is_known_at_the_other_site_finds_what_it_did_here(self) -> None:
        self.send(self.there, "before", "one")
        first = self.send(self.alice, "a", "two")
        self.settle()
        self.assertEqual(self.send(self.there, "a", "two"), first)

    def test_of_a_send_that_was_repeated_in_a_cut_one_event_stays(self) -> None:
        self.cut()
        first = self.send(self.alice, "a")
        self.clock.advance(1)
        second = self.send(self.there, "a")
        self.assertNotEqual(first, second)
        self.heal()
        self.settle()
        for user in (self.alice, self.there):
            self.assertEqual(self.texts(user), ["hello"])
            self.assertEqual(self.send(user, "a"), first)

    def test_receipts_are_on_both_sites_and_so_is_what_is_unread(self) -> None:
        self.send(self.alice, "a")
        event_id = self.send(self.alice, "b")
        self.settle()
        bob_there = self.at_berta(self.bob)
        self.assertEqual(self.room(bob_there)["unread_notifications"]["notification_count"], 2)
        self.ok(self.post(f"{self.path}/receipt/m.read/{quote(event_id)}", {}, self.bob))
        self.settle()
        self.assertEqual(self.receipts(self.there), {self.bob.user_id: event_id})
        self.assertEqual(self.room(bob_there)["unread_notifications"]["notification_count"], 0)

    def test_of_receipts_sent_in_a_cut_the_further_one_stays(self) -> None:
        events = [self.send(self.alice, str(number)) for number in range(3)]
        self.settle()
        self.cut()
        self.ok(self.post(f"{self.path}/receipt/m.read/{quote(events[2])}", {}, self.bob))
        self.clock.advance(1)
        bob_there = self.at_berta(self.bob)
        self.ok(self.post(f"{self.path}/receipt/m.read/{quote(events[1])}", {}, bob_there))
        self.heal()
        self.settle()
        for user in (self.alice, self.there):
            self.assertEqual(self.receipts(user), {self.bob.user_id: events[2]})
        for user in (self.bob, bob_there):
            self.assertEqual(self.room(user)["unread_notifications"]["notification_count"], 0)

    def test_a_room_that_was_forgotten_is_so_everywhere_until_it_is_joined_again(self) -> None:
        self.ok(self.post(f"{self.path}/leave", {}, self.bob))
        self.ok(self.post(f"{self.path}/forget", {}, self.bob))
        self.settle()
        bob_there = self.at_berta(self.bob)
        self.assertEqual(self.get(f"{self.path}/messages?dir=b", bob_there)[0], 403)
        self.given_joined(self.bob, self.room_id)
        self.settle()
        self.assertEqual(self.get(f"{self.path}/messages?dir=b", bob_there)[0], 200)
