"""Rooms on two sites: what is written through one is at the other."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase


class RoomsOnSitesTests(SitesTestCase):
    def texts(self, user: TestUser, room_id: str) -> list[str]:
        """The messages of a room's history, oldest first."""
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b&limit=100"
        chunk: list[dict[str, Any]] = self.ok(self.get(path, user))["chunk"]
        return [
            event["content"].get("body") for event in reversed(chunk) if event["type"] == "m.room.message"
        ]

    def state(self, user: TestUser, room_id: str) -> dict[tuple[str, str], str]:
        events = self.ok(self.get(f"/_matrix/client/v3/rooms/{quote(room_id)}/state", user))
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    def test_a_room_is_on_both_sites(self) -> None:
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        self.given_message(alice, room_id, "hello")
        self.settle()
        there = self.at_berta(alice)
        self.assertEqual(self.texts(there, room_id), ["hello"])
        self.assertEqual(self.state(there, room_id), self.state(alice, room_id))

    def test_both_sites_write_at_the_same_time(self) -> None:
        alice = self.given_user("alice")
        room_id = self.given_room(alice)
        self.settle()
        there = self.at_berta(alice)
        self.given_message(alice, room_id, "one")
        self.given_message(there, room_id, "two")
        self.settle()
        self.given_message(there, room_id, "three")
        self.settle()
        self.assertEqual(sorted(self.texts(alice, room_id)), ["one", "three", "two"])
        self.assertEqual(sorted(self.texts(there, room_id)), ["one", "three", "two"])

    def test_what_was_written_in_a_cut_is_on_both_sites_afterwards(self) -> None:
        alice = self.given_user("alice")
        bob = self.given_user("bob")
        room_id = self.given_room(alice)
        self.given_joined(bob, room_id)
        self.settle()
        self.cut()
        for number in range(5):
            self.given_message(alice, room_id, f"here {number}")
            self.given_message(self.at_berta(bob), room_id, f"there {number}")
        self.heal()
        wanted = sorted(f"{place} {number}" for place in ("here", "there") for number in range(5))
        self.assertEqual(sorted(self.texts(alice, room_id)), wanted)
        self.assertEqual(sorted(self.texts(self.at_berta(alice), room_id)), wanted)
        self.assertEqual(self.state(alice, room_id), self.state(self.at_berta(alice), room_id))

    def test_conflicting_power_levels_and_a_ban_end_the_same_on_both(self) -> None:
        alice = self.given_user("alice")
        bob = self.given_user("bob")
        carol = self.given_user("carol")
        levels = {"users": {bob.user_id: 50}}
        room_id = self.given_room(alice, power_level_content_override=levels)
        self.given_joined(bob, room_id)
        self.given_joined(carol, room_id)
        self.settle()
        self.cut()
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}"
        content = self.ok(self.get(f"{path}/state/m.room.power_levels", alice))
        self.ok(self.put(f"{path}/state/m.room.power_levels", {**content, "ban": 60}, alice))
        there = self.at_berta(bob)
        self.ok(self.post(f"{path}/ban", {"user_id": carol.user_id}, there))
        self.ok(self.put(f"{path}/state/m.room.topic", {"topic": "from there"}, there))
        self.given_message(carol, room_id, "still here")
        self.heal()
        self.assertEqual(self.state(alice, room_id), self.state(self.at_berta(alice), room_id))
        self.given_message(alice, room_id, "after")
        self.settle()
        self.assertEqual(self.texts(alice, room_id)[-1], "after")
        self.assertEqual(self.texts(self.at_berta(alice), room_id)[-1], "after")
