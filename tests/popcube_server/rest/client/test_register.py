"""Making accounts: who may, under which names, and with which proof."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser

REGISTER = "/_matrix/client/v3/register"
AVAILABLE = "/_matrix/client/v3/register/available"
WHOAMI = "/_matrix/client/v3/account/whoami"
DUMMY = {"type": "m.login.dummy"}


def wanted(name: str | None = "alice", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"password": "a password", "auth": DUMMY, **more}
    return body if name is None else {"username": name, **body}


class RegisterTests(WitnessedTestCase):
    def test_new_account_can_be_used_at_once(self) -> None:
        answer = self.ok(
            self.post(REGISTER, wanted(device_id="PHONE", initial_device_display_name="My phone"))
        )
        self.assertEqual((answer["user_id"], answer["device_id"]), ("@alice:one.example", "PHONE"))
        self.assertNotIn("refresh_token", answer)
        alice = TestUser(ONE, answer["user_id"], answer["access_token"], "PHONE")
        self.assertEqual(self.ok(self.get(WHOAMI, alice))["user_id"], "@alice:one.example")
        device = self.ok(self.get("/_matrix/client/v3/devices/PHONE", alice))
        self.assertEqual(device["display_name"], "My phone")

    def test_stranger_is_led_through_the_stages(self) -> None:
        body = wanted()
        del body["auth"]
        status, answer = self.post(REGISTER, body)
        self.assertEqual((status, answer["flows"]), (401, [{"stages": ["m.login.dummy"]}]))
        self.assertNotIn("errcode", answer)
        self.ok(self.post(REGISTER, {**body, "auth": {**DUMMY, "session": answer["session"]}}))

    def test_client_may_begin_with_an_empty_request(self) -> None:
        session = self.post(REGISTER, {})[1]["session"]
        self.ok(self.post(REGISTER, wanted(auth={**DUMMY, "session": session})))

    def test_client_may_repeat_the_session_alone(self) -> None:
        body = wanted()
        del body["auth"]
        session = self.post(REGISTER, body)[1]["session"]
        answer = self.ok(self.post(REGISTER, {"auth": {**DUMMY, "session": session}}))
        self.assertEqual(answer["user_id"], "@alice:one.example")

    def test_taken_name_is_refused_also_to_the_other_case(self) -> None:
        self.given_user("alice")
        for name in ("alice", "Alice"):
            self.assert_refused(self.post(REGISTER, wanted(name)), 400, "M_USER_IN_USE")
            self.assert_refused(self.get(f"{AVAILABLE}?username={name}"), 400, "M_USER_IN_USE")

    def test_taken_name_is_refused_before_anybody_is_led_through_stages(self) -> None:
        self.given_user("alice")
        for auth in (None, {}, {"type": "m.login.password"}):
            body = {key: value for key, value in wanted(auth=auth).items() if value is not None}
            self.assert_refused(self.post(REGISTER, body), 400, "M_USER_IN_USE")

    def test_name_taken_in_one_organisation_is_free_in_the_other(self) -> None:
        self.given_user("alice")
        self.assertTrue(
            self.ok(self.call("GET", f"{AVAILABLE}?username=alice", server_name=TWO))["available"]
        )
        self.given_user("alice", TWO)

    def test_impossible_names_are_refused(self) -> None:
        for name in ("", "a b", "a:b", "ünal", "x" * 250, "@bob:two.example", "a\0b"):
            self.assert_refused(self.post(REGISTER, wanted(name)), 400, "M_INVALID_USERNAME")

    def test_server_chooses_a_name_if_the_client_does_not(self) -> None:
        first = self.ok(self.post(REGISTER, wanted(None)))["user_id"]
        second = self.ok(self.post(REGISTER, wanted(None)))["user_id"]
        self.assertNotEqual(first, second)
        self.assertRegex(first, r"^@[a-z]+:one\.example$")

    def test_inhibited_login_gives_no_token(self) -> None:
        answer = self.ok(self.post(REGISTER, wanted(inhibit_login=True)))
        self.assertNotIn("access_token", answer)
        self.assertNotIn("device_id", answer)

    def test_password_is_needed(self) -> None:
        self.assert_refused(self.post(REGISTER, {"username": "alice", "auth": DUMMY}), 400, "M_MISSING_PARAM")
        self.assert_refused(self.post(REGISTER, wanted(password="")), 400, "M_INVALID_PARAM")
        self.assert_refused(self.post(REGISTER, wanted(password="x" * 513)), 400, "M_INVALID_PARAM")

    def test_values_of_wrong_types_are_refused(self) -> None:
        changes: tuple[dict[str, Any], ...] = (
            {"username": 1},
            {"password": []},
            {"inhibit_login": "no"},
            {"auth": "x"},
            {"device_id": {}},
        )
        for change in changes:
            self.assert_refused(self.post(REGISTER, {**wanted(), **change}), 400, "M_BAD_JSON")
        self.assert_refused(self.post(REGISTER, wanted(auth={"type": 7})), 400, "M_BAD_JSON")

    def test_device_ids_that_cannot_be_stored_are_refused(self) -> None:
        for number, device_id in enumerate(("", "a\0b", "x" * 256)):
            body = wanted(f"user{number}", device_id=device_id)
            self.assert_refused(self.post(REGISTER, body), 400, "M_INVALID_PARAM")
            # Refused before anything was written.
            self.ok(self.get(f"{AVAILABLE}?username=user{number}"))

    def test_guests_are_refused_unless_allowed(self) -> None:
        self.assert_refused(self.post(f"{REGISTER}?kind=guest", {}), 403, "M_FORBIDDEN")

    def test_registration_token_is_invalid_if_there_is_none(self) -> None:
        path = "/_matrix/client/v1/register/m.login.registration_token/validity?token=abc"
        self.assertEqual(self.ok(self.get(path)), {"valid": False})


class GuestTests(WitnessedTestCase):
    extra_configuration = "allow_guest_access: true"

    def test_guest_is_known_as_one_and_kept_from_what_is_for_users(self) -> None:
        answer = self.ok(self.post(f"{REGISTER}?kind=guest", {"initial_device_display_name": "browser"}))
        guest = TestUser(ONE, answer["user_id"], answer["access_token"], answer["device_id"])
        self.assertTrue(self.ok(self.get(WHOAMI, guest))["is_guest"])
        self.assert_refused(self.get("/_matrix/client/v3/capabilities", guest), 403, "M_FORBIDDEN")


class ClosedRegistrationTests(WitnessedTestCase):
    extra_configuration = "enable_registration: false"

    def test_nobody_may_register(self) -> None:
        self.assert_refused(self.post(REGISTER, wanted()), 403, "M_FORBIDDEN")
        self.assert_refused(self.get(f"{AVAILABLE}?username=alice"), 403, "M_FORBIDDEN")
        path = "/_matrix/client/v1/register/m.login.registration_token/validity?token=abc"
        self.assert_refused(self.get(path), 403, "M_FORBIDDEN")


class RegistrationLimitTests(WitnessedTestCase):
    limits = "rc_registration: {per_second: 0.1, burst_count: 2}"

    def test_address_may_not_register_without_end(self) -> None:
        self.given_user("a")
        self.given_user("b")
        answer = self.post(REGISTER, wanted("c"))
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(answer[1]["retry_after_ms"] / 1000)
        self.given_user("c")

    def test_taken_name_uses_nothing_up(self) -> None:
        self.ok(self.post(REGISTER, wanted("a")))
        for _ in range(3):
            self.assert_refused(self.post(REGISTER, wanted("a")), 400, "M_USER_IN_USE")
        self.ok(self.post(REGISTER, wanted("b")))


class InhibitedNamesTests(WitnessedTestCase):
    extra_configuration = "inhibit_user_in_use_error: true"
    limits = "rc_registration: {per_second: 0.1, burst_count: 2}"

    def test_taken_name_shows_at_the_end_alone_and_each_guess_is_counted(self) -> None:
        self.ok(self.post(REGISTER, wanted("a")))
        self.assertTrue(self.ok(self.get(f"{AVAILABLE}?username=a"))["available"])
        self.assertEqual(self.post(REGISTER, {"username": "a", "password": "x"})[0], 401)
        self.assert_refused(self.post(REGISTER, wanted("a")), 400, "M_USER_IN_USE")
        self.assert_refused(self.post(REGISTER, wanted("a")), 429, "M_LIMIT_EXCEEDED")

    def test_impossible_name_is_never_free(self) -> None:
        self.assert_refused(self.get(f"{AVAILABLE}?username=a%20b"), 400, "M_INVALID_USERNAME")
