"""Logging in, and what the token is good for afterwards."""

from typing import Any

import bcrypt
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.auth.authenticator import TokenAuthenticator
from popcube_server.services.auth.recent_changes import RecentChanges
from popcube_server.services.auth.token_cache import KnownToken
from popcube_server.services.requester import Requester
from storage.accounts import AccountFlag, SetAccountFlag, SetPasswordHash
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser

LOGIN = "/_matrix/client/v3/login"
WHOAMI = "/_matrix/client/v3/account/whoami"


def with_password(user: str, password: str, **more: Any) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": user}
    return {"type": "m.login.password", "identifier": identifier, "password": password, **more}


class LoginTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def test_password_is_offered(self) -> None:
        self.assertEqual(self.ok(self.get(LOGIN)), {"flows": [{"type": "m.login.password"}]})

    def test_user_is_known_by_name_and_by_id_in_any_case(self) -> None:
        for user in ("alice", "Alice", "@alice:one.example", "@ALICE:one.example"):
            answer = self.ok(self.post(LOGIN, with_password(user, "password of alice")))
            self.assertEqual(answer["user_id"], "@alice:one.example")
            self.assertEqual(answer["well_known"], {"m.homeserver": {"base_url": "https://one.example/"}})

    def test_old_way_to_name_the_user_is_known(self) -> None:
        body = {"type": "m.login.password", "user": "alice", "password": "password of alice"}
        self.ok(self.post(LOGIN, body))

    def test_wrong_password_and_wrong_name_are_refused_alike(self) -> None:
        wrong_password = self.post(LOGIN, with_password("alice", "wrong"))
        wrong_name = self.post(LOGIN, with_password("nobody", "password of alice"))
        impossible_name = self.post(LOGIN, with_password("a\0b:c", "password of alice"))
        self.assert_refused(wrong_password, 403, "M_FORBIDDEN")
        self.assertEqual(wrong_password, wrong_name)
        self.assertEqual(wrong_password, impossible_name)

    def test_password_of_one_organisation_is_none_in_the_other(self) -> None:
        answer = self.call("POST", LOGIN, with_password("alice", "password of alice"), server_name=TWO)
        self.assert_refused(answer, 403, "M_FORBIDDEN")

    def test_third_party_identifiers_are_refused_with_a_reason(self) -> None:
        for identifier in (
            {"type": "m.id.thirdparty", "medium": "email", "address": "a@example.org"},
            {"type": "m.id.phone", "country": "DE", "phone": "123"},
        ):
            body = {"type": "m.login.password", "identifier": identifier, "password": "x"}
            self.assert_refused(self.post(LOGIN, body), 403, "M_FORBIDDEN")

    def test_what_is_not_a_login_is_refused(self) -> None:
        self.assert_refused(self.post(LOGIN, {}), 400, "M_MISSING_PARAM")
        self.assert_refused(self.post(LOGIN, {"type": "m.login.magic"}), 400, "M_UNKNOWN")
        self.assert_refused(self.post(LOGIN, {"type": "m.login.token", "token": "x"}), 400, "M_UNKNOWN")
        self.assert_refused(self.post(LOGIN, {"type": "m.login.password"}), 400, "M_MISSING_PARAM")
        self.assert_refused(self.post(LOGIN, with_password("alice", 1)), 400, "M_BAD_JSON")  # type: ignore[arg-type]

    def test_login_with_an_existing_device_ends_its_tokens(self) -> None:
        again = self.given_login(self.alice, self.alice.device_id)
        self.ok(self.get(WHOAMI, again))
        self.assert_refused(self.get(WHOAMI, self.alice), 401, "M_UNKNOWN_TOKEN")

    def test_login_with_an_existing_device_keeps_its_name(self) -> None:
        body = with_password("alice", "password of alice", device_id="PHONE")
        self.ok(self.post(LOGIN, {**body, "initial_device_display_name": "first"}))
        self.ok(self.post(LOGIN, {**body, "initial_device_display_name": "second"}))
        device = self.ok(self.get("/_matrix/client/v3/devices/PHONE", self.alice))
        self.assertEqual(device["display_name"], "first")

    def test_device_of_one_user_is_none_of_the_other(self) -> None:
        bob = self.given_user("bob")
        body = with_password("bob", "password of bob", device_id=self.alice.device_id)
        self.ok(self.post(LOGIN, body))
        self.ok(self.get(WHOAMI, self.alice))
        self.ok(self.get(WHOAMI, bob))

    def test_hash_of_synapse_is_good_and_is_renewed(self) -> None:
        old_hash = bcrypt.hashpw(b"from synapse", bcrypt.gensalt(4)).decode()
        committer = self.organisations[ONE].core.committer
        self.successResultOf(
            Deferred.fromCoroutine(committer.commit(SetPasswordHash(self.alice.user_id, old_hash)))
        )
        self.assert_refused(self.post(LOGIN, with_password("alice", "password of alice")), 403, "M_FORBIDDEN")
        self.ok(self.post(LOGIN, with_password("alice", "from synapse")))
        stored = self.organisations[ONE].core.database.read_now(
            lambda tx: tx.value("SELECT password_hash FROM accounts WHERE user_id = ?", (self.alice.user_id,))
        )
        self.assertTrue(stored.startswith("$argon2id$"), stored)
        self.ok(self.post(LOGIN, with_password("alice", "from synapse")))

    def test_password_is_compared_in_its_compatible_form(self) -> None:
        body = {"username": "bob", "password": "\u212b", "auth": {"type": "m.login.dummy"}}
        self.ok(self.post("/_matrix/client/v3/register", body))
        self.ok(self.post(LOGIN, with_password("bob", "A\u030a")))


class TokenTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def test_token_survives_a_restart(self) -> None:
        self.restart()
        answer = self.ok(self.get(WHOAMI, self.alice))
        self.assertEqual((answer["user_id"], answer["device_id"]), (self.alice.user_id, self.alice.device_id))

    def test_token_of_one_organisation_is_unknown_to_the_other(self) -> None:
        elsewhere = TestUser(TWO, self.alice.user_id, self.alice.access_token, self.alice.device_id)
        self.assert_refused(self.get(WHOAMI, elsewhere), 401, "M_UNKNOWN_TOKEN")

    def test_what_is_no_token_of_ours_is_unknown(self) -> None:
        token = self.alice.access_token
        for wrong in ("x", token[:-2], token + "AA", token[:40] + "A" + token[41:], "A" * 5000, "=", "é"):
            stranger = TestUser(ONE, "", wrong, "")
            status, answer = self.call("GET", WHOAMI, headers={"Authorization": f"Bearer {wrong}"})
            self.assertEqual((status, answer["errcode"]), (401, "M_UNKNOWN_TOKEN"), stranger)
        self.assert_refused(self.get(WHOAMI), 401, "M_MISSING_TOKEN")
        self.ok(self.get(WHOAMI, self.alice))

    def test_logout_ends_the_token_and_the_device(self) -> None:
        other = self.given_login(self.alice)
        self.assertEqual(self.ok(self.post("/_matrix/client/v3/logout", None, self.alice)), {})
        self.assert_refused(self.get(WHOAMI, self.alice), 401, "M_UNKNOWN_TOKEN")
        devices = self.ok(self.get("/_matrix/client/v3/devices", other))["devices"]
        self.assertEqual([device["device_id"] for device in devices], [other.device_id])
        self.restart()
        self.assert_refused(self.get(WHOAMI, self.alice), 401, "M_UNKNOWN_TOKEN")

    def test_logout_everywhere_ends_every_token_of_the_user_and_no_other(self) -> None:
        other, bob = self.given_login(self.alice), self.given_user("bob")
        elsewhere = self.given_user("alice", TWO)
        for user in (self.alice, other, bob, elsewhere):
            self.ok(self.get(WHOAMI, user))
        self.assertEqual(self.ok(self.post("/_matrix/client/v3/logout/all", {}, self.alice)), {})
        for user in (self.alice, other):
            self.assert_refused(self.get(WHOAMI, user), 401, "M_UNKNOWN_TOKEN")
        self.ok(self.get(WHOAMI, bob))
        self.ok(self.get(WHOAMI, elsewhere))

    def test_token_has_no_refresh_token_unless_the_client_asks(self) -> None:
        answer = self.ok(self.post(LOGIN, with_password("alice", "password of alice")))
        self.assertNotIn("refresh_token", answer)
        self.assertNotIn("expires_in_ms", answer)


class TokenCacheTests(WitnessedTestCase):
    extra_configuration = ""

    def test_known_token_costs_no_read(self) -> None:
        alice = self.given_user("alice")
        self.ok(self.get(WHOAMI, alice))
        authenticator = self.organisations[ONE].site.authenticator
        found = authenticator.find_requester(alice.access_token)
        assert found is not None
        self.assertEqual(found.user_id, alice.user_id)
        self.ok(self.post("/_matrix/client/v3/logout", {}, alice))
        self.assertIsNone(authenticator.find_requester(alice.access_token))

    def test_new_token_is_known_before_its_first_use(self) -> None:
        find = self.organisations[ONE].site.authenticator.find_requester
        alice = self.given_user("alice")
        other = self.given_login(alice)
        for token in (alice.access_token, other.access_token):
            self.assertEqual(getattr(find(token), "user_id", None), alice.user_id)
        # The token of a device that logs in again is gone, and only that one.
        again = self.ok(
            self.post(LOGIN, with_password("alice", "password of alice", device_id=other.device_id))
        )
        self.assertIsNone(find(other.access_token))
        self.assert_refused(self.get(WHOAMI, other), 401, "M_UNKNOWN_TOKEN")
        for token in (alice.access_token, again["access_token"]):
            status, answer = self.call("GET", WHOAMI, headers={"Authorization": f"Bearer {token}"})
            self.assertEqual((status, answer["user_id"]), (200, alice.user_id))

    def test_new_token_of_an_account_that_changed_meanwhile_is_looked_up(self) -> None:
        authenticator = self.organisations[ONE].site.authenticator
        assert isinstance(authenticator, TokenAuthenticator)
        alice, bob = self.given_user("alice"), self.given_user("bob")
        since = authenticator.position
        change = SetAccountFlag(alice.user_id, AccountFlag.SUSPENDED, True)
        self.successResultOf(Deferred.fromCoroutine(self.organisations[ONE].core.committer.commit(change)))
        for user, is_known in ((alice, False), (bob, True)):
            old = Requester(user.user_id, user.device_id, "session")
            authenticator.expect("token", KnownToken(old, None), since)
            self.assertEqual(authenticator.find_requester("token"), old if is_known else None)


class RecentChangesTests(SynchronousTestCase):
    def test_who_changed_is_remembered_for_a_while_and_whoever_may_have_is_said_to(self) -> None:
        changes = RecentChanges(2)
        self.assertFalse(changes.may_have_changed("a", 0))
        for position, user in ((5, "a"), (6, "b"), (7, "a")):
            changes.note(user, position)
        told = [
            changes.may_have_changed(user, since) for user, since in (("a", 6), ("a", 7), ("b", 5), ("b", 6))
        ]
        self.assertEqual(told, [True, False, True, False])
        changes.note("c", 8)
        # That of "b" is forgotten: before it, nothing is known of anybody.
        self.assertEqual([changes.may_have_changed("b", since) for since in (5, 6)], [True, False])
        self.assertTrue(changes.may_have_changed("d", 5))
        self.assertFalse(changes.may_have_changed("d", 6))


class NoLoginTokenTests(WitnessedTestCase):
    def test_login_tokens_are_refused_unless_configured(self) -> None:
        alice = self.given_user("alice")
        self.assert_refused(self.post(LoginTokenTests.PATH, {}, alice), 403, "M_FORBIDDEN")


class LoginTokenTests(WitnessedTestCase):
    extra_configuration = "login_via_existing_session: {enabled: true, token_timeout: 2m}"
    PATH = "/_matrix/client/v1/login/get_token"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")

    def given_login_token(self) -> str:
        auth = {"type": "m.login.password", "password": "password of alice", "user": "alice"}
        answer = self.ok(self.post(self.PATH, {"auth": auth}, self.alice))
        self.assertEqual(answer["expires_in_ms"], 120_000)
        token: str = answer["login_token"]
        return token

    def test_it_is_offered(self) -> None:
        flows = self.ok(self.get(LOGIN))["flows"]
        self.assertIn({"type": "m.login.token", "get_login_token": True}, flows)
        capabilities = self.ok(self.get("/_matrix/client/v3/capabilities", self.alice))["capabilities"]
        self.assertEqual(capabilities["m.get_login_token"], {"enabled": True})

    def test_password_is_asked_for(self) -> None:
        status, answer = self.post(self.PATH, {}, self.alice)
        self.assertEqual((status, answer["flows"]), (401, [{"stages": ["m.login.password"]}]))

    def test_token_logs_in_once(self) -> None:
        body = {"type": "m.login.token", "token": self.given_login_token()}
        self.assertEqual(self.ok(self.post(LOGIN, body))["user_id"], self.alice.user_id)
        self.assert_refused(self.post(LOGIN, body), 403, "M_FORBIDDEN")

    def test_token_expires(self) -> None:
        body = {"type": "m.login.token", "token": self.given_login_token()}
        self.clock.advance(121)
        self.assert_refused(self.post(LOGIN, body), 403, "M_FORBIDDEN")

    def test_token_of_one_organisation_is_none_in_the_other(self) -> None:
        body = {"type": "m.login.token", "token": self.given_login_token()}
        self.assert_refused(self.call("POST", LOGIN, body, server_name=TWO), 403, "M_FORBIDDEN")


class PasswordsOffTests(WitnessedTestCase):
    extra_configuration = "password_config: {enabled: false}"

    def test_password_is_neither_offered_nor_taken(self) -> None:
        self.given_user("alice")
        self.assertEqual(self.ok(self.get(LOGIN)), {"flows": []})
        self.assert_refused(self.post(LOGIN, with_password("alice", "password of alice")), 400, "M_UNKNOWN")


class LoginFallbackTests(WitnessedTestCase):
    def test_there_is_a_page_to_log_in_on(self) -> None:
        for path in ("/_matrix/static/client/login/", "/_matrix/static/client/login?device_id=A"):
            status, page = self.get(path)
            self.assertEqual((status, b"window.onLogin" in page), (200, True))
