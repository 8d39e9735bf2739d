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
