"""What is soft failed: as on the site that accepted the event first, so that both sites show the same."""

from urllib.parse import quote

from federation.transport.https import HttpRequest, HttpResponse
from tests.popcube_server.server_case import TWO, TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase


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


class SoftFailedTogetherTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[str] = []
        self.network.observe = self.note
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob", TWO)
        self.room_id = self.given_room(self.alice)
        path = f"/_matrix/client/v3/join/{quote(self.room_id)}?server_name=one.example"
        self.ok(self.post(path, {}, self.bob))
        self.settle()

    def note(self, request: HttpRequest, response: HttpResponse) -> None:
        self.asked.append(request.uri)

    def test_events_that_stand_on_others_of_the_batch_are_not_asked_for(self) -> None:
        self.cut()
        self.network.down.update((ANNA, TWO))
        ban = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/ban"
        self.ok(self.post(ban, {"user_id": self.bob.user_id}, self.alice))
        for text in ("one", "two", "three"):
            self.given_message(self.bob, self.room_id, text)
        self.network.down.difference_update((ANNA, TWO))
        for _ in range(40):
            self.clock.advance(30)
            self.network.flush()
        self.asked.clear()
        self.heal()
        self.assertEqual([uri for uri in self.asked if "get_missing_events" in uri or "/state" in uri], [])
        for host in (ANNA, BERTA):
            count = self.organisations[host].core.database.read_now(
                lambda tx: tx.value("SELECT COUNT(*) FROM events WHERE flags <> 0")
            )
            self.assertEqual(count, 3, host)
