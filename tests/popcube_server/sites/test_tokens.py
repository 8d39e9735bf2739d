"""Tokens of one site at the other: nothing is missed, and nothing hangs."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import SitesTestCase


class TokensOfOtherSitesTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.room_id = self.given_room(self.alice)
        self.settle()
        self.there = self.at_berta(self.alice)

    def sync(self, user: TestUser, since: str | None = None) -> Any:
        query = "timeout=0" if since is None else f"timeout=0&since={since}"
        pending = self.begin("GET", f"/_matrix/client/v3/sync?{query}", None, user)
        # What is not here yet is waited for, but not long.
        for _ in range(20):
            self.clock.advance(0.1)
        return self.ok(self.finish(pending))

    def texts(self, answer: Any) -> list[str]:
        rooms = answer.get("rooms", {}).get("join", {})
        events = rooms.get(self.room_id, {}).get("timeline", {}).get("events", [])
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]

    def test_a_sync_goes_on_at_the_other_site(self) -> None:
        self.given_message(self.alice, self.room_id, "one")
        token = self.sync(self.alice)["next_batch"]
        self.given_message(self.alice, self.room_id, "two")
        self.settle()
        answer = self.sync(self.there, token)
        self.assertIn("two", self.texts(answer))
        # It knows what the client has: this is no first sync.
        state = answer["rooms"]["join"][self.room_id].get("state", {}).get("events", [])
        self.assertEqual(state, [])

    def test_what_the_other_site_alone_had_is_not_missed(self) -> None:
        self.cut()
        self.given_message(self.there, self.room_id, "from there")
        self.given_message(self.alice, self.room_id, "from here")
        token = self.sync(self.alice)["next_batch"]
        self.heal()
        self.assertIn("from there", self.texts(self.sync(self.there, token)))
        self.assertIn("from there", self.texts(self.sync(self.alice, token)))

    def test_a_token_of_what_has_not_arrived_does_not_hang(self) -> None:
        token = self.sync(self.alice)["next_batch"]
        self.cut()
        self.given_message(self.alice, self.room_id, "lost for now")
        later = self.sync(self.alice, token)["next_batch"]
        answer = self.sync(self.there, later)
        self.assertEqual(self.texts(answer), [])
        again = self.sync(self.there, answer["next_batch"])
        self.heal()
        self.assertIn("lost for now", self.texts(self.sync(self.there, again["next_batch"])))

    def test_paging_back_goes_on_at_the_other_site(self) -> None:
        for number in range(6):
            self.given_message(self.alice, self.room_id, str(number))
        self.settle()
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/messages?dir=b&limit=3"
        first = self.ok(self.get(path, self.alice))
        second = self.ok(self.get(f"{path}&from={first['end']}", self.there))
        seen = [event["content"]["body"] for page in (first, second) for event in page["chunk"]]
        self.assertEqual(sorted(set(seen)), ["0", "1", "2", "3", "4", "5"])

    def test_an_unknown_log_is_told_everything(self) -> None:
        self.given_message(self.alice, self.room_id, "one")
        self.assertIn("one", self.texts(self.sync(self.alice, "s5.nowhere")))
