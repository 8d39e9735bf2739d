"""Users of two sites in rooms of another server: whatever is done through one site holds at the other."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TWO, TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase


class MembershipsElsewhereTests(SitesTestCase):
    """Bob of `two.example` has a room. Other servers find the site `anna`, until it is lost."""

    def setUp(self) -> None:
        super().setUp()
        self.wait(20)
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)
        self.room_id = self.given_room(self.bob, name="Bob's", invite=[])
        self.path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}"
        self.wait(5)
        self.there = self.at_berta(self.alice)

    def wait(self, duration_s: float) -> None:
        for _ in range(round(duration_s * 4)):
            self.clock.advance(0.25)
            self.network.flush()

    def invite(self) -> None:
        pending = self.begin("POST", f"{self.path}/invite", {"user_id": self.alice.user_id}, self.bob)
        self.wait(5)
        self.ok(self.finish(pending))

    def sync(self, user: TestUser) -> dict[str, Any]:
        pending = self.begin("GET", "/_matrix/client/v3/sync?timeout=0", None, user)
        self.wait(1)
        rooms: dict[str, Any] = self.ok(self.finish(pending)).get("rooms", {})
        return rooms

    def join(self, user: TestUser) -> None:
        pending = self.begin(
            "POST", f"/_matrix/client/v3/join/{quote(self.room_id)}?server_name={TWO}", {}, user
        )
        self.wait(5)
        self.ok(self.finish(pending))

    def members(self, user: TestUser) -> set[str]:
        pending = self.begin("GET", f"{self.path}/joined_members", None, user)
        self.wait(2)
        return set(self.ok(self.finish(pending))["joined"])

    def test_an_invite_is_at_both_sites_with_what_the_room_shows(self) -> None:
        self.invite()
        for user in (self.alice, self.there):
            shown = self.sync(user)["invite"][self.room_id]["invite_state"]["events"]
            names = [event["content"]["name"] for event in shown if event["type"] == "m.room.name"]
            self.assertEqual(names, ["Bob's"])

    def test_an_invite_that_came_to_one_site_is_accepted_at_the_other(self) -> None:
        self.invite()
        self.join(self.there)
        both = {self.alice.user_id, self.bob.user_id}
        for user in (self.alice, self.there, self.bob):
            self.assertEqual(self.members(user), both)
        self.assertNotIn("invite", self.sync(self.alice))
        self.given_message(self.bob, self.room_id, "welcome")
        self.wait(5)
        for user in (self.alice, self.there):
            joined = self.sync(user)["join"][self.room_id]["timeline"]["events"]
            self.assertIn("welcome", [event["content"].get("body") for event in joined])

    def test_an_invite_that_is_rejected_is_gone_at_both(self) -> None:
        self.invite()
        pending = self.begin("POST", f"{self.path}/leave", {}, self.there)
        self.wait(5)
        self.ok(self.finish(pending))
        for user in (self.alice, self.there):
            self.assertNotIn("invite", self.sync(user))

    def test_an_invite_that_is_taken_back_is_gone_at_both(self) -> None:
        self.invite()
        pending = self.begin("POST", f"{self.path}/kick", {"user_id": self.alice.user_id}, self.bob)
        self.wait(5)
        self.ok(self.finish(pending))
        self.wait(5)
        for user in (self.alice, self.there):
            self.assertNotIn("invite", self.sync(user))

    def test_an_invite_is_accepted_at_the_other_site_when_the_first_is_lost(self) -> None:
        self.invite()
        self.kill(ANNA)
        self.join(self.there)
        self.assertEqual(self.members(self.there), {self.alice.user_id, self.bob.user_id})
        self.revive(ANNA)
        self.wait(5)
        self.assertEqual(self.members(self.alice), {self.alice.user_id, self.bob.user_id})

    def test_a_join_through_one_site_is_complete_at_the_other(self) -> None:
        self.given_message(self.bob, self.room_id, "before")
        self.join(self.there)
        self.wait(5)
        self.assertEqual(self.members(self.alice), {self.alice.user_id, self.bob.user_id})
        self.given_message(self.alice, self.room_id, "from here")
        self.given_message(self.there, self.room_id, "from there")
        self.wait(10)
        events = self.sync(self.bob)["join"][self.room_id]["timeline"]["events"]
        texts = [event["content"].get("body") for event in events if event["type"] == "m.room.message"]
        self.assertEqual(sorted(texts), ["before", "from here", "from there"])
        self.assertIn(BERTA, self.organisations)
