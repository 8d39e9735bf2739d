"""What is soft failed: as on the site that accepted the event first, so that both sites show the same."""

from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase


class VerdictsOnSitesTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.room_id = self.given_room(self.alice)
        self.given_joined(self.bob, self.room_id)
        self.settle()

    def events(self, user: TestUser) -> set[str]:
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/messages?dir=b&limit=100"
        return {event["event_id"] for event in self.ok(self.get(path, user))["chunk"]}

    def ban_bob(self, moderator: TestUser) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/ban"
        self.ok(self.post(path, {"user_id": self.bob.user_id}, moderator))

    def test_what_a_member_was_answered_is_seen_although_the_other_site_has_banned_him(self) -> None:
        self.cut()
        self.ban_bob(self.alice)
        said = self.given_message(self.at_berta(self.bob), self.room_id, "I am here")
        self.heal()
        there = self.at_berta(self.alice)
        self.assertIn(said, self.events(there))
        self.assertEqual(self.events(self.alice), self.events(there))

    def test_the_ban_holds_on_both_sites_afterwards(self) -> None:
        self.cut()
        self.ban_bob(self.alice)
        self.given_message(self.at_berta(self.bob), self.room_id, "I am here")
        self.heal()
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/send/m.room.message/again"
        for bob in (self.bob, self.at_berta(self.bob)):
            self.assertEqual(self.put(path, {"msgtype": "m.text", "body": "again"}, bob)[0], 403)
