"""Profiles: seen by all, changed by their owner."""

from storage.log import LogRepository
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser

PROFILE = "/_matrix/client/v3/profile"


class ProfileTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.path = f"{PROFILE}/{self.alice.user_id}"

    def set_field(self, field: str, value: object) -> None:
        self.assertEqual(self.ok(self.put(f"{self.path}/{field}", {field: value}, self.alice)), {})

    def test_new_user_is_called_like_the_localpart(self) -> None:
        self.assertEqual(self.ok(self.get(self.path)), {"displayname": "alice"})

    def test_fields_are_set_read_and_deleted(self) -> None:
        fields = {
            "displayname": "Alice \0 \U0001f600",
            "avatar_url": "mxc://one.example/abc",
            "m.tz": "Europe/Berlin",
            "org.example.job": {"title": "pilot", "rank": 1.5, "since": None},
            "org.example.nothing": None,
        }
        for field, value in fields.items():
            self.set_field(field, value)
            self.assertEqual(self.ok(self.get(f"{self.path}/{field}")), {field: value})
        self.assertEqual(self.ok(self.get(self.path)), fields)
        self.restart()
        self.assertEqual(self.ok(self.get(self.path)), fields)
        for field in fields:
            self.assertEqual(self.ok(self.delete(f"{self.path}/{field}", self.alice)), {})
            self.assertEqual(self.ok(self.delete(f"{self.path}/{field}", self.alice)), {})
            self.assert_refused(self.get(f"{self.path}/{field}"), 404, "M_NOT_FOUND")
        self.assertEqual(self.ok(self.get(self.path)), {})

    def test_empty_name_and_avatar_are_none(self) -> None:
        for value in ("", None):
            self.set_field("displayname", "Alice")
            self.set_field("displayname", value)
            self.assert_refused(self.get(f"{self.path}/displayname"), 404, "M_NOT_FOUND")

    def test_followers_hear_which_field_changed(self) -> None:
        self.set_field("displayname", "Alice")
        core = self.organisations[ONE].core
        last = core.database.read_now(lambda tx: LogRepository().read_after(tx, core.log.position - 1, 1))[0]
        self.assertEqual((last.kind, last.key), ("profile", (self.alice.user_id, "displayname")))

    def test_profile_of_another_is_not_changed(self) -> None:
        bob = self.given_user("bob")
        path = f"{self.path}/displayname"
        self.assert_refused(self.put(path, {"displayname": "x"}, bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.delete(path, bob), 403, "M_FORBIDDEN")
        self.assert_refused(self.put(path, {"displayname": "x"}), 401, "M_MISSING_TOKEN")
        self.assertEqual(self.ok(self.get(self.path)), {"displayname": "alice"})

    def test_unknown_users_have_no_profile(self) -> None:
        self.assert_refused(self.get(f"{PROFILE}/@nobody:one.example"), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(f"{PROFILE}/@nobody:one.example/displayname"), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(f"{PROFILE}/nobody"), 400, "M_INVALID_PARAM")

    def test_body_has_just_the_field_of_the_path(self) -> None:
        path = f"{self.path}/displayname"
        self.assert_refused(self.put(path, {}, self.alice), 400, "M_MISSING_PARAM")
        self.assert_refused(self.put(path, {"m.tz": "x"}, self.alice), 400, "M_MISSING_PARAM")
        body = {"displayname": "x", "avatar_url": "y"}
        self.assert_refused(self.put(path, body, self.alice), 400, "M_BAD_JSON")

    def test_values_that_cannot_be_are_refused(self) -> None:
        for field, value, errcode in (
            ("displayname", 1, "M_BAD_JSON"),
            ("displayname", "x" * 257, "M_INVALID_PARAM"),
            ("avatar_url", "https://example.org/me.png", "M_INVALID_PARAM"),
            ("m.tz", 7, "M_INVALID_PARAM"),
            ("Org.Example", "x", "M_INVALID_PARAM"),
            ("single", "x", "M_INVALID_PARAM"),
            ("a." + "x" * 254, "x", "M_KEY_TOO_LARGE"),
        ):
            answer = self.put(f"{self.path}/{field}", {field: value}, self.alice)
            self.assert_refused(answer, 400, errcode)

    def test_whole_profile_has_64_kib_at_most(self) -> None:
        self.set_field("org.example.a", "x" * 40_000)
        path = f"{self.path}/org.example.b"
        answer = self.put(path, {"org.example.b": "x" * 30_000}, self.alice)
        self.assert_refused(answer, 400, "M_PROFILE_TOO_LARGE")
        self.assert_refused(self.get(path), 404, "M_NOT_FOUND")
        # A field may be replaced by one as large.
        self.set_field("org.example.a", "y" * 60_000)

    def test_profiles_of_two_organisations_are_apart(self) -> None:
        self.given_user("alice", TWO)
        self.set_field("displayname", "Alice")
        answer = self.call("GET", f"{PROFILE}/@alice:two.example", server_name=TWO)
        self.assertEqual(self.ok(answer), {"displayname": "alice"})
        self.assert_refused(self.call("GET", self.path, server_name=TWO), 404, "M_NOT_FOUND")


class ShyProfileTests(WitnessedTestCase):
    extra_configuration = "limit_profile_requests_to_users_who_share_rooms: true"

    def test_profile_is_for_those_who_share_a_room(self) -> None:
        alice, bob = self.given_user("alice"), self.given_user("bob")
        path = f"{PROFILE}/{alice.user_id}"
        self.assert_refused(self.get(path), 401, "M_MISSING_TOKEN")
        self.assert_refused(self.get(path, bob), 403, "M_FORBIDDEN")
        self.ok(self.get(path, alice))


class FrozenProfileTests(WitnessedTestCase):
    extra_configuration = "enable_set_displayname: false\nallow_guest_access: true"

    def test_name_may_not_be_changed_and_clients_are_told(self) -> None:
        alice = self.given_user("alice")
        path = f"{PROFILE}/{alice.user_id}"
        self.assert_refused(self.put(f"{path}/displayname", {"displayname": "x"}, alice), 403, "M_FORBIDDEN")
        self.assert_refused(self.delete(f"{path}/displayname", alice), 403, "M_FORBIDDEN")
        self.ok(self.put(f"{path}/m.tz", {"m.tz": "Europe/Berlin"}, alice))
        capabilities = self.ok(self.get("/_matrix/client/v3/capabilities", alice))["capabilities"]
        self.assertEqual(capabilities["m.profile_fields"], {"enabled": True, "disallowed": ["displayname"]})
        self.assertEqual(capabilities["m.set_displayname"], {"enabled": False})
        self.assertEqual(capabilities["m.set_avatar_url"], {"enabled": True})


class GuestProfileTests(WitnessedTestCase):
    extra_configuration = "allow_guest_access: true"

    def test_guest_may_have_a_name_and_nothing_else(self) -> None:
        answer = self.ok(self.post("/_matrix/client/v3/register?kind=guest", {}))
        guest = TestUser(ONE, answer["user_id"], answer["access_token"], answer["device_id"])
        path = f"{PROFILE}/{guest.user_id}"
        self.ok(self.put(f"{path}/displayname", {"displayname": "Passer-by"}, guest))
        self.assert_refused(self.put(f"{path}/m.tz", {"m.tz": "x"}, guest), 403, "M_FORBIDDEN")
