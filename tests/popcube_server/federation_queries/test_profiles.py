"""Profiles across servers, both ways, and the options that close them."""

from typing import Any
from urllib.parse import quote

import orjson

from federation.transport.https import HttpResponse
from tests.popcube_server.federation_queries.queries_case import FAR, FEDERATION, QueriesTestCase, refusal
from tests.popcube_server.rooms.rooms_case import V3
from tests.popcube_server.server_case import ONE, TWO, TestUser

PATH = f"{FEDERATION}/query/profile"
FAR_USER = f"@x:{FAR}"


class ProfilesTestCase(QueriesTestCase):
    def set_field(self, user: TestUser, field: str, value: Any) -> None:
        self.ok(self.put(f"{V3}/profile/{user.user_id}/{field}", {field: value}, user))

    def query(self, user_id: str, rest: str = "") -> tuple[int, Any]:
        return self.ask("GET", f"{PATH}?user_id={quote(user_id)}{rest}")

    def profile(self, reader: TestUser | None, user_id: str, field: str = "") -> tuple[int, Any]:
        return self.get(f"{V3}/profile/{quote(user_id)}{field}", reader)


class SharedProfileTests(ProfilesTestCase):
    def test_whole_profile_or_one_field_is_told(self) -> None:
        self.set_field(self.alice, "displayname", "Alice")
        self.set_field(self.alice, "org.example.job", {"title": "baker"})
        self.set_field(self.alice, "m.tz", "Europe/Berlin")
        whole = {"displayname": "Alice", "org.example.job": {"title": "baker"}, "m.tz": "Europe/Berlin"}
        self.assertEqual(self.ok(self.query(self.alice.user_id)), whole)
        for field, value in whole.items():
            self.assertEqual(self.ok(self.query(self.alice.user_id, f"&field={field}")), {field: value})
        # "the server MUST either exclude it from the response body or give it the value `null`"
        self.assertEqual(self.ok(self.query(self.alice.user_id, "&field=avatar_url")), {})

    def test_only_users_here_are_told_of(self) -> None:
        self.assert_refused(self.query(f"@nobody:{ONE}"), 404, "M_NOT_FOUND")
        for user_id in (self.carol.user_id, FAR_USER, "alice", "@alice"):
            self.assert_refused(self.query(user_id), 400, "M_INVALID_PARAM")
        self.assert_refused(self.ask("GET", PATH), 400, "M_MISSING_PARAM")
        self.assert_refused(self.call("GET", f"{PATH}?user_id={self.alice.user_id}"), 401, "M_UNAUTHORIZED")

    def test_custom_fields_reach_users_of_other_servers(self) -> None:
        self.set_field(self.carol, "org.example.job", {"title": "baker"})
        found = self.ok(self.profile(self.alice, self.carol.user_id))
        self.assertEqual(found["org.example.job"], {"title": "baker"})
        field = self.ok(self.profile(self.alice, self.carol.user_id, "/org.example.job"))
        self.assertEqual(field, {"org.example.job": {"title": "baker"}})
        answer = self.profile(self.alice, self.carol.user_id, "/org.example.none")
        self.assert_refused(answer, 404, "M_NOT_FOUND")

    def test_nobody_without_an_account_makes_us_ask(self) -> None:
        self.network.requests.clear()
        self.assert_refused(self.profile(None, self.carol.user_id), 404, "M_NOT_FOUND")
        self.assertEqual(self.network.requests, [])


class RemoteProfileTests(ProfilesTestCase):
    def test_profile_is_asked_for_once_in_a_while(self) -> None:
        far = self.given_far()
        far.answers[PATH] = {"displayname": "X"}
        for field in ("", "/displayname") * 20:
            self.ok(self.profile(self.alice, FAR_USER, field))
        self.assertEqual(len(far.asked), 1)
        self.clock.advance(61)
        self.ok(self.profile(self.bob, FAR_USER))
        self.assertEqual(len(far.asked), 2)
        statuses = [self.profile(self.alice, f"@{number}:{FAR}")[0] for number in range(230)]
        self.assertEqual((statuses[0], statuses[-1]), (200, 429))

    def test_wrong_fields_are_left_out(self) -> None:
        far = self.given_far()
        far.answers[PATH] = {
            "displayname": ["X"],
            "avatar_url": "https://far.example/x.png",
            "m.tz": 7,
            "org.example.gone": None,
            "org.example.good": [1],
            "x" * 300: "y",
        }
        self.assertEqual(self.ok(self.profile(self.alice, FAR_USER)), {"org.example.good": [1]})

    def test_values_that_cannot_be_told_are_left_out(self) -> None:
        far = self.given_far()
        nested = [b"[" * depth + b"]" * depth for depth in (*range(248, 258), 900)]
        for value in (b"%d" % 2**70, *nested):
            body = b'{"org.example.odd":%b,"displayname":"X"}' % value
            far.answers[PATH] = HttpResponse(200, {"content-type": "application/json"}, body)
            self.clock.advance(61)
            self.assertEqual(
                self.ok(self.profile(self.alice, FAR_USER, "/displayname")), {"displayname": "X"}
            )
            self.ok(self.profile(self.alice, FAR_USER))

    def test_failures_are_told_apart(self) -> None:
        far = self.given_far()
        large = {f"org.example.{number}": "x" * 1_000 for number in range(70)}
        wrong: tuple[Any, ...] = (
            (refusal(404, "M_NOT_FOUND"), 404, "M_NOT_FOUND"),
            (refusal(403, "M_FORBIDDEN"), 404, "M_NOT_FOUND"),
            (refusal(500, "M_UNKNOWN"), 502, "M_UNKNOWN"),
            ([], 502, "M_UNKNOWN"),
            (large, 502, "M_UNKNOWN"),
            ({"org.example.huge": "x" * 300_000}, 502, "M_UNKNOWN"),
        )
        for answer, status, errcode in wrong:
            far.answers[PATH] = answer
            self.clock.advance(3600)
            found = self.profile(self.alice, FAR_USER)
            self.assert_refused(found, status, errcode)
        self.clock.advance(3600)
        self.network.silent.add(FAR)
        path = f"{V3}/profile/{quote(FAR_USER)}"
        answer = self.wait(lambda: self.begin("GET", path, user=self.alice))
        self.assert_refused(answer, 504, "M_UNKNOWN")
        self.assertLess(len(orjson.dumps(large)), 80_000)


class UnsharedProfileTests(ProfilesTestCase):
    extra_configuration = "allow_profile_lookup_over_federation: false"

    def test_profiles_can_be_kept_from_other_servers(self) -> None:
        self.assert_refused(self.query(self.alice.user_id), 403, "M_FORBIDDEN")
        # Whether there is such a user is not told either.
        self.assert_refused(self.query(f"@nobody:{ONE}"), 403, "M_FORBIDDEN")
        self.assert_refused(self.profile(self.carol, self.alice.user_id), 404, "M_NOT_FOUND")
        self.ok(self.profile(self.bob, self.alice.user_id))


class ShyRemoteProfileTests(ProfilesTestCase):
    extra_configuration = "limit_profile_requests_to_users_who_share_rooms: true"

    def test_profiles_elsewhere_are_for_those_who_share_a_room(self) -> None:
        self.assert_refused(self.profile(self.alice, self.carol.user_id), 403, "M_FORBIDDEN")
        self.assert_refused(self.profile(None, self.carol.user_id), 401, "M_MISSING_TOKEN")
        room_id = self.given_room(self.carol)
        self.ok(self.post(f"{V3}/join/{quote(room_id)}?via={TWO}", {}, self.alice))
        self.ok(self.profile(self.alice, self.carol.user_id))
        self.assert_refused(self.profile(self.bob, self.carol.user_id), 403, "M_FORBIDDEN")


class ProfilesWithTokenTests(ProfilesTestCase):
    extra_configuration = "require_auth_for_profile_requests: true"

    def test_token_is_needed_for_any_profile(self) -> None:
        for user in (self.alice, self.carol):
            self.assert_refused(self.profile(None, user.user_id), 401, "M_MISSING_TOKEN")
            self.ok(self.profile(self.bob, user.user_id))
