"""Confirming what is dangerous, over several requests."""

from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from storage.registration_tokens import CreateRegistrationToken
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO

REGISTER = "/_matrix/client/v3/register"
DELETE = "/_matrix/client/v3/delete_devices"


def password_of(name: str, session: str | None = None) -> dict[str, Any]:
    auth: dict[str, Any] = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": name},
        "password": f"password of {name}",
    }
    return auth if session is None else {**auth, "session": session}


class PasswordStageTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.bob = self.given_user("bob")
        self.phone = self.given_login(self.alice, "PHONE")
        self.tablet = self.given_login(self.alice, "TABLET")

    def begin_delete(self, *devices: str) -> str:
        status, answer = self.post(DELETE, {"devices": list(devices)}, self.alice)
        self.assertEqual((status, answer["completed"]), (401, []))
        session: str = answer["session"]
        return session

    def finish_delete(self, auth: dict[str, Any], *devices: str) -> tuple[int, Any]:
        return self.post(DELETE, {"devices": list(devices), "auth": auth}, self.alice)

    def device_ids(self) -> set[str]:
        answer = self.ok(self.get("/_matrix/client/v3/devices", self.alice))
        return {device["device_id"] for device in answer["devices"]}

    def test_password_confirms(self) -> None:
        session = self.begin_delete("PHONE")
        self.ok(self.finish_delete(password_of("alice", session), "PHONE"))
        self.assertEqual(self.device_ids(), {self.alice.device_id, "TABLET"})

    def test_wrong_password_leaves_the_session_for_another_try(self) -> None:
        session = self.begin_delete("PHONE")
        wrong = {**password_of("alice", session), "password": "wrong"}
        status, answer = self.finish_delete(wrong, "PHONE")
        self.assertEqual((status, answer["errcode"], answer["session"]), (401, "M_FORBIDDEN", session))
        self.assertIn("PHONE", self.device_ids())
        self.ok(self.finish_delete(password_of("alice", session), "PHONE"))

    def test_password_of_another_user_confirms_nothing(self) -> None:
        session = self.begin_delete("PHONE")
        status, answer = self.finish_delete(password_of("bob", session), "PHONE")
        self.assertEqual((status, answer["errcode"]), (401, "M_FORBIDDEN"))
        self.assertIn("PHONE", self.device_ids())

    def test_session_is_for_its_devices_only(self) -> None:
        session = self.begin_delete("PHONE")
        page = f"/_matrix/client/v3/auth/m.login.password/fallback/web?session={session}"
        self.call("POST", page, urlencode({"password": "password of alice"}).encode())
        self.assertEqual(self.finish_delete({"session": session}, "TABLET")[0], 401)
        self.ok(self.finish_delete({"session": session}, "PHONE"))
        self.assertEqual(self.device_ids(), {self.alice.device_id, "TABLET"})

    def test_finished_session_confirms_nothing_more(self) -> None:
        session = self.begin_delete("PHONE")
        self.ok(self.finish_delete(password_of("alice", session), "PHONE"))
        status, answer = self.finish_delete({"session": session}, "PHONE")
        self.assertEqual((status, answer["completed"]), (401, []))

    def test_session_of_another_user_or_endpoint_is_not_taken(self) -> None:
        session = self.begin_delete(self.bob.device_id)
        status, answer = self.post(
            DELETE, {"devices": [self.bob.device_id], "auth": {"session": session}}, self.bob
        )
        self.assertEqual(status, 401)
        self.assertNotEqual(answer["session"], session)
        status, answer = self.post(
            "/_matrix/client/v3/account/deactivate", {"auth": {"session": session}}, self.alice
        )
        self.assertEqual(status, 401)
        self.assertNotEqual(answer["session"], session)

    def test_stage_that_is_not_asked_for_is_refused(self) -> None:
        session = self.begin_delete("PHONE")
        for stage in ("m.login.dummy", "m.login.registration_token", "m.unheard.of"):
            status, answer = self.finish_delete({"type": stage, "session": session}, "PHONE")
            self.assertEqual((status, answer["errcode"]), (401, "M_UNRECOGNIZED"))

    def test_session_expires(self) -> None:
        session = self.begin_delete("PHONE")
        self.clock.advance(30 * 60)
        status, answer = self.finish_delete({"session": session}, "PHONE")
        self.assertEqual(status, 401)
        self.assertNotEqual(answer["session"], session)

    def test_confirmation_is_asked_for_each_time(self) -> None:
        self.ok(self.finish_delete(password_of("alice"), "PHONE"))
        self.assertEqual(self.finish_delete({}, "TABLET")[0], 401)


class RecentConfirmationTests(WitnessedTestCase):
    extra_configuration = "ui_auth: {session_timeout: 1m}"

    def test_confirmation_counts_for_a_while_and_for_its_session_only(self) -> None:
        alice = self.given_user("alice")
        other = self.given_login(alice)
        for device_id in ("A", "B", "C", "D"):
            self.given_login(alice, device_id)
        self.ok(self.post(DELETE, {"devices": ["A"], "auth": password_of("alice")}, alice))
        self.ok(self.post(DELETE, {"devices": ["B"]}, alice))
        self.assertEqual(self.post(DELETE, {"devices": ["C"]}, other)[0], 401)
        # What changes the account itself is confirmed each time.
        self.assertEqual(self.post("/_matrix/client/v3/account/deactivate", {}, alice)[0], 401)
        self.clock.advance(60)
        self.assertEqual(self.post(DELETE, {"devices": ["C"]}, alice)[0], 401)


class RegistrationTokenTests(WitnessedTestCase):
    extra_configuration = "registration_requires_token: true"
    VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"

    def given_token(self, uses: int | None = None, expires_ms: int | None = None) -> None:
        committer = self.organisations[ONE].core.committer
        change = CreateRegistrationToken("token", uses, expires_ms)
        self.successResultOf(Deferred.fromCoroutine(committer.commit(change)))

    def register(
        self, name: str, session: str | None = None, token: str = "token", server_name: str = ONE
    ) -> tuple[int, Any]:
        auth = {"type": "m.login.registration_token", "token": token}
        if session is not None:
            auth["session"] = session
        body = {"username": name, "password": "x", "auth": auth}
        return self.call("POST", REGISTER, body, server_name=server_name)

    def is_valid(self) -> bool:
        valid: bool = self.ok(self.get(f"{self.VALIDITY}?token=token"))["valid"]
        return valid

    def test_token_is_asked_for(self) -> None:
        status, answer = self.post(REGISTER, {"username": "alice", "password": "x"})
        self.assertEqual((status, answer["flows"]), (401, [{"stages": ["m.login.registration_token"]}]))
        status, answer = self.post(
            REGISTER, {"username": "alice", "password": "x", "auth": {"type": "m.login.dummy"}}
        )
        self.assertEqual((status, answer["errcode"]), (401, "M_UNRECOGNIZED"))

    def test_token_is_good_for_its_uses(self) -> None:
        self.given_token(uses=2)
        self.assertTrue(self.is_valid())
        self.ok(self.register("a"))
        self.ok(self.register("b"))
        self.assertFalse(self.is_valid())
        status, answer = self.register("c")
        self.assertEqual((status, answer["errcode"]), (401, "M_UNAUTHORIZED"))

    def test_registration_under_way_holds_its_use(self) -> None:
        self.given_token(uses=1)
        session = self.post(REGISTER, {"username": "a", "password": "x"})[1]["session"]
        # The stage is passed, the registration is not finished: somebody else took the name meanwhile.
        page = f"/_matrix/client/v3/auth/m.login.registration_token/fallback/web?session={session}"
        self.assertEqual(self.call("POST", page, urlencode({"token": "token"}).encode())[0], 200)
        self.assertFalse(self.is_valid())
        self.assertEqual(self.register("b")[0], 401)
        self.ok(self.post(REGISTER, {"username": "a", "password": "x", "auth": {"session": session}}))
        self.assertFalse(self.is_valid())

    def test_taken_name_takes_no_use(self) -> None:
        self.given_token(uses=2)
        self.ok(self.register("a"))
        status, answer = self.register("a")
        self.assertEqual((status, answer["errcode"]), (400, "M_USER_IN_USE"))
        self.assertTrue(self.is_valid())

    def test_use_that_was_only_held_comes_back(self) -> None:
        self.given_token(uses=1)
        session = self.post(REGISTER, {"username": "a", "password": "x"})[1]["session"]
        page = f"/_matrix/client/v3/auth/m.login.registration_token/fallback/web?session={session}"
        self.call("POST", page, urlencode({"token": "token"}).encode())
        self.clock.advance(30 * 60)
        self.assertTrue(self.is_valid())
        self.ok(self.register("b"))

    def test_token_expires(self) -> None:
        self.given_token(expires_ms=int(self.clock.seconds() * 1000) + 60_000)
        self.ok(self.register("a"))
        self.clock.advance(60)
        self.assertFalse(self.is_valid())
        self.assertEqual(self.register("b")[0], 401)

    def test_token_of_one_organisation_is_none_in_the_other(self) -> None:
        self.given_token()
        self.assertEqual(self.register("a", server_name=TWO)[0], 401)
        self.ok(self.register("a"))

    def test_what_cannot_be_a_token_is_invalid(self) -> None:
        for text in ("", "a%00b", "x" * 65, "%C3%A9"):
            self.assertFalse(self.ok(self.get(f"{self.VALIDITY}?token={text}"))["valid"])
        self.assertEqual(self.register("a", token="a\0b")[0], 401)
        self.assert_refused(self.get(self.VALIDITY), 400, "M_MISSING_PARAM")


class FallbackPageTests(WitnessedTestCase):
    def page(self, stage: str, session: str) -> str:
        return f"/_matrix/client/v3/auth/{stage}/fallback/web?session={session}"

    def test_page_completes_a_stage_for_a_client_that_cannot(self) -> None:
        body = {"username": "alice", "password": "x"}
        session = self.post(REGISTER, body)[1]["session"]
        status, html = self.get(self.page("m.login.dummy", session))
        self.assertEqual((status, b"<form" in html), (200, True))
        status, html = self.call("POST", self.page("m.login.dummy", session), b"")
        self.assertEqual((status, b"onAuthDone" in html), (200, True))
        self.ok(self.post(REGISTER, {**body, "auth": {"session": session}}))

    def test_password_page_confirms_for_the_user_who_began(self) -> None:
        alice = self.given_user("alice")
        session = self.post(DELETE, {"devices": [alice.device_id]}, alice)[1]["session"]
        page = self.page("m.login.password", session)
        status, html = self.call("POST", page, urlencode({"password": "<wrong>"}).encode())
        self.assertEqual((status, b"onAuthDone" in html), (200, False))
        status, html = self.call("POST", page, urlencode({"password": "password of alice"}).encode())
        self.assertEqual((status, b"onAuthDone" in html), (200, True))
        self.ok(self.post(DELETE, {"devices": [alice.device_id], "auth": {"session": session}}, alice))

    def test_page_of_no_session_is_refused(self) -> None:
        session = self.post(REGISTER, {"username": "alice", "password": "x"})[1]["session"]
        for path in (
            self.page("m.login.dummy", "unknown"),
            self.page("m.login.password", session),
            self.page("m.unheard.of", session),
        ):
            self.assert_refused(self.get(path), 404, "M_NOT_FOUND")
            self.assert_refused(self.call("POST", path, b""), 404, "M_NOT_FOUND")
        self.assert_refused(
            self.get("/_matrix/client/v3/auth/m.login.dummy/fallback/web"), 400, "M_MISSING_PARAM"
        )

    def test_session_of_one_organisation_is_unknown_to_the_other(self) -> None:
        session = self.post(REGISTER, {"username": "alice", "password": "x"})[1]["session"]
        answer = self.call("GET", self.page("m.login.dummy", session), server_name=TWO)
        self.assert_refused(answer, 404, "M_NOT_FOUND")
