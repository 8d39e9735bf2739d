"""Typing and presence on two sites."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase


class EphemeralOnSitesTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room_id = self.given_room(self.alice)
        self.given_joined(self.bob, self.room_id)
        self.settle()
        self.bob_there = self.at_berta(self.bob)

    def sync(self, user: TestUser) -> Any:
        return self.ok(self.get("/_matrix/client/v3/sync?timeout=0", user))

    def type(self, user: TestUser, timeout_ms: int | None) -> None:
        body = {"typing": False} if timeout_ms is None else {"typing": True, "timeout": timeout_ms}
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/typing/{quote(user.user_id)}"
        self.ok(self.put(path, body, user))

    def typing(self, user: TestUser) -> list[str]:
        events = self.sync(user)["rooms"]["join"][self.room_id].get("ephemeral", {}).get("events", [])
        found = [event["content"]["user_ids"] for event in events if event["type"] == "m.typing"]
        return found[0] if found else []

    def presence(self, user: TestUser, of: TestUser) -> str:
        path = f"/_matrix/client/v3/presence/{quote(of.user_id)}/status"
        state: str = self.ok(self.get(path, user))["presence"]
        return state

    def let_it_travel(self) -> None:
        """In a second or two: what was typed has not ended by itself."""
        for _ in range(4):
            self.clock.advance(0.6)
            self.network.flush()

    def test_who_types_at_one_site_is_seen_at_the_other_until_they_stop(self) -> None:
        self.type(self.alice, 100_000)
        self.let_it_travel()
        self.assertEqual(self.typing(self.bob_there), [self.alice.user_id])
        self.type(self.alice, None)
        self.let_it_travel()
        self.assertEqual(self.typing(self.bob_there), [])

    def test_who_types_at_a_site_that_is_lost_does_not_type_for_ever(self) -> None:
        self.type(self.alice, 100_000)
        self.let_it_travel()
        self.cut()
        self.assertEqual(self.typing(self.bob_there), [self.alice.user_id])
        self.clock.advance(121)
        self.assertEqual(self.typing(self.bob_there), [])

    def test_who_is_online_at_one_site_is_so_at_the_other(self) -> None:
        self.ok(
            self.put(
                f"/_matrix/client/v3/presence/{quote(self.alice.user_id)}/status",
                {"presence": "online"},
                self.alice,
            )
        )
        self.let_it_travel()
        self.assertEqual(self.presence(self.bob_there, self.alice), "online")

    def test_who_moves_to_the_other_site_stays_online(self) -> None:
        self.sync(self.alice)
        self.let_it_travel()
        there = self.at_berta(self.alice)
        for _ in range(12):
            # Long enough for the first site to find that there is nobody any more.
            self.sync(there)
            self.clock.advance(10)
            self.network.flush()
        self.assertEqual(self.presence(self.bob, self.alice), "online")
        self.assertEqual(self.presence(self.bob_there, self.alice), "online")
