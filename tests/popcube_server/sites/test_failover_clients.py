"""What clients and their tokens meet when a site is lost or cut off: rows of docs/developers/failover.md."""

from typing import Any
from urllib.parse import quote

from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase

V3 = "/_matrix/client/v3"
CATCH_UP_STEPS = 15
"""Of a tenth of a second: longer than anybody waits for what a token speaks of."""


class FailoverCase(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.there = self.at_berta(self.alice)
        self.room_id = self.given_room(self.alice)
        self.settle()

    def answer_soon(self, path: str, user: TestUser) -> Any:
        """The answer of a request that may wait a second, and no longer."""
        pending = self.begin("GET", path, None, user)
        for _ in range(CATCH_UP_STEPS):
            self.clock.advance(0.1)
            self.network.flush()
        return self.ok(self.finish(pending))

    def sync(self, user: TestUser, since: str | None = None, timeout_ms: int = 0) -> Any:
        where = "" if since is None else f"&since={quote(since)}"
        return self.answer_soon(f"{V3}/sync?timeout={timeout_ms}{where}", user)

    def texts(self, answer: Any) -> list[str]:
        events = answer.get("rooms", {}).get("join", {}).get(self.room_id, {}).get("timeline", {})
        return [
            event["content"]["body"]
            for event in events.get("events", [])
            if event["type"] == "m.room.message"
        ]


class TokensAheadTests(FailoverCase):
    """Row 4: a token that is ahead of what is here is waited for, not long, and then served from where it is sure."""

    def test_a_long_poll_with_a_token_ahead_of_its_own_site_is_answered_soon_and_misses_nothing(self) -> None:
        self.given_message(self.alice, self.room_id, "one")
        self.settle()
        for site, user in (("anna", self.alice), ("berta", self.there)):
            answer = self.sync(user, f"s99999.{site}", timeout_ms=30_000)
            self.assertIn("one", self.texts(answer))
            self.given_message(user, self.room_id, f"later at {site}")
            self.assertIn(f"later at {site}", self.texts(self.sync(user, answer["next_batch"])))

    def test_a_long_poll_with_a_token_ahead_of_the_other_site_hears_what_is_new(self) -> None:
        self.given_message(self.alice, self.room_id, "one")
        self.settle()
        self.cut()
        answer = self.sync(self.there, "s99999.anna", timeout_ms=30_000)
        pending = self.begin("GET", f"{V3}/sync?timeout=30000&since={answer['next_batch']}", None, self.there)
        self.given_message(self.there, self.room_id, "two")
        self.clock.advance(0.1)
        self.assertIn("two", self.texts(self.ok(self.finish(pending))))

    def test_pages_from_a_token_ahead_are_given_in_both_directions(self) -> None:
        for number in range(3):
            self.given_message(self.alice, self.room_id, str(number))
        self.settle()
        self.cut()
        self.given_message(self.alice, self.room_id, "not there yet")
        token = self.sync(self.alice)["next_batch"]
        page = f"{V3}/rooms/{quote(self.room_id)}/messages?limit=50&from="
        for start in (token, f"t{99999 << 20}.anna", "s99999.berta", f"t{99999 << 20}.berta"):
            chunk = self.answer_soon(f"{page}{start}&dir=b", self.there)["chunk"]
            bodies = [event["content"].get("body") for event in chunk if event["type"] == "m.room.message"]
            self.assertEqual(bodies, ["2", "1", "0"])
        ahead = self.answer_soon(f"{page}{token}&dir=f", self.there)
        self.given_message(self.there, self.room_id, "new there")
        self.heal()
        after = self.answer_soon(f"{page}{ahead.get('end', token)}&dir=f", self.there)
        bodies = [event["content"].get("body") for each in (ahead, after) for event in each["chunk"]]
        self.assertIn("new there", bodies)
        self.assertIn("not there yet", bodies)

    def test_messages_to_a_device_stay_until_a_token_that_this_site_gave_comes_back(self) -> None:
        _, first = self.to_device(self.there)
        body = {"messages": {self.alice.user_id: {self.alice.device_id: {"text": "one"}}}}
        self.ok(self.put(f"{V3}/sendToDevice/m.test/1", body, self.there))
        # Tokens that this site cannot have given out acknowledge nothing.
        for token in ("s99999.berta", "s99999-99999.berta", "s99999.nowhere"):
            self.sync(self.there, token)
        texts, second = self.to_device(self.there, first)
        self.assertEqual(texts, ["one"])
        self.assertEqual(self.to_device(self.there, second)[0], [])

    def to_device(self, user: TestUser, since: str | None = None) -> tuple[list[str], str]:
        answer = self.sync(user, since)
        events = answer.get("to_device", {}).get("events", [])
        return [event["content"]["text"] for event in events], answer["next_batch"]


class SessionsTests(FailoverCase):
    """Rows 10 and 11: what was logged out is so everywhere; a refresh that is repeated elsewhere does no harm."""

    def whoami(self, user: TestUser) -> int:
        return self.get(f"{V3}/account/whoami", user)[0]

    def test_a_logout_at_one_site_ends_a_token_that_the_other_has_in_memory(self) -> None:
        self.assertEqual((self.whoami(self.alice), self.whoami(self.there)), (200, 200))
        self.ok(self.post(f"{V3}/logout", {}, self.alice))
        self.network.flush()
        self.assertEqual((self.whoami(self.alice), self.whoami(self.there)), (401, 401))

    def test_a_logout_in_a_cut_holds_at_the_other_site_once_it_hears_of_it(self) -> None:
        self.whoami(self.there)
        self.cut()
        self.ok(self.post(f"{V3}/logout", {}, self.alice))
        self.assertEqual((self.whoami(self.alice), self.whoami(self.there)), (401, 200))
        self.heal()
        self.assertEqual((self.whoami(self.alice), self.whoami(self.there)), (401, 401))

    def test_a_new_password_logs_other_devices_out_everywhere(self) -> None:
        other = self.given_login(self.alice)
        self.settle()
        other_there = self.at_berta(other)
        self.assertEqual(self.whoami(other_there), 200)
        auth = {"type": "m.login.password", "user": "alice", "password": "password of alice"}
        self.ok(self.post(f"{V3}/account/password", {"new_password": "a new one", "auth": auth}, self.alice))
        self.settle()
        self.assertEqual((self.whoami(self.there), self.whoami(other_there)), (200, 401))

    def refresh(self, token: str, host: str) -> tuple[int, Any]:
        return self.call("POST", f"{V3}/refresh", {"refresh_token": token}, server_name=host)

    def test_a_refresh_that_is_repeated_at_the_other_site_leaves_the_client_logged_in(self) -> None:
        first = self.given_refreshable()
        self.settle()
        for is_cut in (False, True):
            if is_cut:
                self.cut()
            # The first answer is lost; the client tries again at the other site.
            self.ok(self.refresh(first["refresh_token"], ANNA))
            self.network.flush()
            second = self.ok(self.refresh(first["refresh_token"], BERTA))
            there = TestUser(BERTA, self.alice.user_id, second["access_token"], "")
            self.assertEqual(self.whoami(there), 200)
            self.heal()
            for host in (ANNA, BERTA):
                here = TestUser(host, self.alice.user_id, second["access_token"], "")
                self.assertEqual(self.whoami(here), 200)
            # What was used is void once its successor is in use.
            self.assert_refused(self.refresh(first["refresh_token"], ANNA), 401, "M_UNKNOWN_TOKEN")
            first = second

    def given_refreshable(self) -> dict[str, Any]:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": "password of alice",
            "refresh_token": True,
        }
        answer: dict[str, Any] = self.ok(self.call("POST", f"{V3}/login", body))
        return answer


class NamesTests(FailoverCase):
    """Row 13: what may be claimed once is so in the end."""

    def claim(self, user: TestUser, room_id: str) -> int:
        path = f"{V3}/directory/room/{quote('#hall:one.example')}"
        return self.put(path, {"room_id": room_id}, user)[0]

    def test_of_an_alias_claimed_on_both_sides_of_a_cut_the_earlier_claim_stays(self) -> None:
        other_room = self.given_room(self.there)
        self.settle()
        self.cut()
        self.assertEqual(self.claim(self.alice, self.room_id), 200)
        self.clock.advance(1)
        self.assertEqual(self.claim(self.there, other_room), 200)
        self.heal()
        path = f"{V3}/directory/room/{quote('#hall:one.example')}"
        found = [self.ok(self.get(path, user))["room_id"] for user in (self.alice, self.there)]
        self.assertEqual(found, [self.room_id, self.room_id])

    def test_a_name_that_was_registered_at_one_site_is_taken_at_the_other(self) -> None:
        body = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
        answer = self.call("POST", f"{V3}/register", body, server_name=BERTA)
        self.assert_refused(answer, 400, "M_USER_IN_USE")

    def test_of_a_name_registered_on_both_sides_of_a_cut_the_earlier_account_stays(self) -> None:
        self.cut()
        here = self.given_user("bob")
        self.clock.advance(1)
        there = self.given_user("bob", BERTA)
        self.heal()
        for host in (ANNA, BERTA):
            for user, status in ((here, 200), (there, 401)):
                moved = TestUser(host, user.user_id, user.access_token, user.device_id)
                self.assertEqual(self.get(f"{V3}/account/whoami", moved)[0], status)


class GuessingTests(FailoverCase):
    """Row 22: wrong passwords and bans count everywhere."""

    def log_in(self, password: str, host: str) -> int:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": password,
        }
        return self.call("POST", f"{V3}/login", body, server_name=host)[0]

    def test_wrong_passwords_of_both_sites_add_up_to_one_ban(self) -> None:
        for number in range(10):
            self.assertEqual(self.log_in("wrong", (ANNA, BERTA)[number % 2]), 403)
            self.settle()
        self.assertEqual([self.log_in("password of alice", host) for host in (ANNA, BERTA)], [429, 429])

    def test_a_ban_of_one_site_holds_at_the_other(self) -> None:
        for _ in range(10):
            self.assertEqual(self.log_in("wrong", ANNA), 403)
        self.settle()
        self.assertEqual(self.log_in("password of alice", BERTA), 429)


class MovingTests(FailoverCase):
    """Row 24: who is quicker than the link is waited for."""

    def test_a_client_that_is_ahead_of_the_link_gets_what_it_saw_once_it_arrives(self) -> None:
        token = self.sync(self.there)["next_batch"]
        self.cut()
        self.given_message(self.alice, self.room_id, "on its way")
        later = self.sync(self.alice, token)["next_batch"]
        pending = self.begin("GET", f"{V3}/sync?timeout=0&since={later}", None, self.there)
        self.clock.advance(0.3)
        self.assert_waiting(pending)
        self.heal()
        answer = self.ok(self.finish(pending))
        # It is here now, and the client had it: whatever it sends refers to what both know.
        path = f"{V3}/rooms/{quote(self.room_id)}/messages?dir=b&limit=1&from={answer['next_batch']}"
        (last,) = self.ok(self.get(path, self.there))["chunk"]
        self.assertEqual(last["content"]["body"], "on its way")
