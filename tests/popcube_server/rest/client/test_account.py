"""Changing the password, and leaving for good."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser

LOGIN = "/_matrix/client/v3/login"
PASSWORD = "/_matrix/client/v3/account/password"
DEACTIVATE = "/_matrix/client/v3/account/deactivate"
WHOAMI = "/_matrix/client/v3/account/whoami"
AUTH = {"type": "m.login.password", "user": "alice", "password": "password of alice"}


class AccountTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.phone = self.given_login(self.alice, "PHONE")

    def log_in(self, password: str, server_name: str = ONE) -> tuple[int, Any]:
        identifier = {"type": "m.id.user", "user": "alice"}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self.call("POST", LOGIN, body, server_name=server_name)


class PasswordTests(AccountTests):
    def test_new_password_counts_and_other_devices_are_logged_out(self) -> None:
        self.given_user("alice", TWO)
        self.assertEqual(self.post(PASSWORD, {"new_password": "new"}, self.alice)[0], 401)
        body = {"new_password": "new", "auth": AUTH}
        self.assertEqual(self.ok(self.post(PASSWORD, body, self.alice)), {})
        self.ok(self.get(WHOAMI, self.alice))
        self.assert_refused(self.get(WHOAMI, self.phone), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.log_in("password of alice"), 403, "M_FORBIDDEN")
        self.ok(self.log_in("new"))
        self.ok(self.log_in("password of alice", TWO))

    def test_other_devices_stay_if_the_user_wants(self) -> None:
        body = {"new_password": "new", "logout_devices": False, "auth": AUTH}
        self.ok(self.post(PASSWORD, body, self.alice))
        self.ok(self.get(WHOAMI, self.phone))
        self.ok(self.log_in("new"))

    def test_old_password_is_proof_enough_without_a_token(self) -> None:
        self.ok(self.post(PASSWORD, {"new_password": "new", "auth": AUTH}))
        self.ok(self.log_in("new"))
        self.assert_refused(self.get(WHOAMI, self.alice), 401, "M_UNKNOWN_TOKEN")

    def test_wrong_proof_changes_nothing(self) -> None:
        for auth in (
            {**AUTH, "password": "wrong"},
            {"type": "m.login.dummy"},
            {"type": "m.login.password", "password": "password of alice"},
        ):
            self.assertEqual(self.post(PASSWORD, {"new_password": "new", "auth": auth})[0], 401)
        self.ok(self.log_in("password of alice"))

    def test_new_password_must_be_one(self) -> None:
        self.assert_refused(self.post(PASSWORD, {"auth": AUTH}, self.alice), 400, "M_MISSING_PARAM")
        body = {"new_password": "", "auth": AUTH}
        self.assert_refused(self.post(PASSWORD, body, self.alice), 400, "M_INVALID_PARAM")
        self.assert_refused(self.post(PASSWORD, {"new_password": 7}, self.alice), 400, "M_BAD_JSON")


class PasswordPolicyTests(WitnessedTestCase):
    extra_configuration = """
password_config:
  policy:
    {enabled: true, minimum_length: 8, require_digit: true, require_symbol: true,
    require_lowercase: true, require_uppercase: true}
"""

    def test_policy_is_obeyed(self) -> None:
        cases = {
            "aA1!": "M_PASSWORD_TOO_SHORT",
            "aaaaAAAA!": "M_PASSWORD_NO_DIGIT",
            "aaaaAAAA1": "M_PASSWORD_NO_SYMBOL",
            "aaaaaaa1!": "M_PASSWORD_NO_UPPERCASE",
            "AAAAAAA1!": "M_PASSWORD_NO_LOWERCASE",
        }
        body = {"username": "alice", "auth": {"type": "m.login.dummy"}}
        for password, errcode in cases.items():
            answer = self.post("/_matrix/client/v3/register", {**body, "password": password})
            self.assert_refused(answer, 400, errcode)
        self.ok(self.post("/_matrix/client/v3/register", {**body, "password": "aaaaAAA1!"}))


class DeactivationTests(AccountTests):
    def deactivate(self, user: TestUser | None, **more: Any) -> tuple[int, Any]:
        return self.post(DEACTIVATE, {"auth": AUTH, **more}, user)

    def test_account_ends_and_its_name_stays_taken(self) -> None:
        elsewhere = self.given_user("alice", TWO)
        self.assertEqual(self.post(DEACTIVATE, {}, self.alice)[0], 401)
        self.assertEqual(self.ok(self.deactivate(self.alice)), {"id_server_unbind_result": "success"})
        for user in (self.alice, self.phone):
            self.assert_refused(self.get(WHOAMI, user), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.log_in("password of alice"), 403, "M_FORBIDDEN")
        body = {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
        self.assert_refused(self.post("/_matrix/client/v3/register", body), 400, "M_USER_IN_USE")
        self.ok(self.get(WHOAMI, elsewhere))

    def test_password_is_proof_enough_without_a_token(self) -> None:
        self.ok(self.deactivate(None))
        self.assert_refused(self.get(WHOAMI, self.alice), 401, "M_UNKNOWN_TOKEN")

    def test_erased_user_has_no_profile_left(self) -> None:
        profile = f"/_matrix/client/v3/profile/{self.alice.user_id}"
        self.assertIn("displayname", self.ok(self.get(profile)))
        self.ok(self.deactivate(self.alice, erase=True))
        self.assertEqual(self.ok(self.get(profile)), {})

    def test_followers_hear_of_it(self) -> None:
        heard: list[tuple[str, tuple[str, ...]]] = []
        self.organisations[ONE].core.log.follow(
            lambda entries: heard.extend((entry.kind, entry.key) for entry in entries)
        )
        self.ok(self.deactivate(self.alice))
        self.assertIn(("account_deactivated", (self.alice.user_id,)), heard)
        self.assertIn(("device", (self.alice.user_id, "PHONE")), heard)

    def test_no_third_party_identifiers_are_known(self) -> None:
        self.assertEqual(self.ok(self.get("/_matrix/client/v3/account/3pid", self.alice)), {"threepids": []})
