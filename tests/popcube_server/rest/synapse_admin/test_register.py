"""Accounts for whoever knows the registration secret."""

import hashlib
import hmac
from typing import Any

from tests.popcube_server.server_case import ONE, TWO, ServerTestCase, TestUser

PATH = "/_synapse/admin/v1/register"


def mac(nonce: str, name: str, password: str, role: str, *more: str, secret: str = "shared secret") -> str:
    content = "\0".join((nonce, name, password, role, *more)).encode()
    return hmac.new(secret.encode(), content, hashlib.sha1).hexdigest()


class SharedSecretTests(ServerTestCase):
    def nonce(self, server_name: str = ONE) -> str:
        nonce: str = self.ok(self.call("GET", PATH, server_name=server_name))["nonce"]
        return nonce

    def wanted(self, nonce: str, **more: Any) -> dict[str, Any]:
        body = {"nonce": nonce, "username": "alice", "password": "a password"}
        return {**body, "mac": mac(nonce, "alice", "a password", "notadmin"), **more}

    def test_who_knows_the_secret_makes_an_account(self) -> None:
        answer = self.ok(self.post(PATH, self.wanted(self.nonce(), displayname="Alice A.")))
        self.assertEqual((answer["user_id"], answer["home_server"]), ("@alice:one.example", ONE))
        alice = TestUser(ONE, answer["user_id"], answer["access_token"], answer["device_id"])
        self.assert_refused(
            self.get("/_matrix/client/v1/admin/lock/@alice:one.example", alice), 403, "M_FORBIDDEN"
        )
        profile = self.ok(self.get("/_matrix/client/v3/profile/@alice:one.example"))
        self.assertEqual(profile, {"displayname": "Alice A."})

    def test_who_knows_the_secret_makes_an_administrator(self) -> None:
        nonce = self.nonce()
        body = self.wanted(nonce, admin=True, mac=mac(nonce, "alice", "a password", "admin"))
        answer = self.ok(self.post(PATH, body))
        alice = TestUser(ONE, answer["user_id"], answer["access_token"], answer["device_id"])
        bob = self.given_user("bob")
        self.ok(self.get(f"/_matrix/client/v1/admin/lock/{bob.user_id}", alice))

    def test_type_of_user_is_part_of_the_proof(self) -> None:
        nonce = self.nonce()
        body = self.wanted(nonce, user_type="bot")
        self.assert_refused(self.post(PATH, body), 403, "M_FORBIDDEN")
        body["mac"] = mac(nonce, "alice", "a password", "notadmin", "bot")
        self.ok(self.post(PATH, body))

    def test_wrong_proof_is_refused(self) -> None:
        nonce = self.nonce()
        for wrong in (
            mac(nonce, "alice", "a password", "notadmin", secret="wrong"),
            mac(nonce, "alice", "other", "notadmin"),
            "é",
        ):
            self.assert_refused(self.post(PATH, self.wanted(nonce, mac=wrong)), 403, "M_FORBIDDEN")
        # Being no administrator was proved, being one was not.
        self.assert_refused(self.post(PATH, self.wanted(nonce, admin=True)), 403, "M_FORBIDDEN")

    def test_nonce_is_good_once_for_a_minute_and_for_its_organisation(self) -> None:
        used = self.nonce()
        self.ok(self.post(PATH, self.wanted(used)))
        self.assert_refused(self.post(PATH, self.wanted(used)), 400, "M_UNKNOWN")
        old = self.nonce()
        self.clock.advance(61)
        for nonce in (used, old, self.nonce()[:-1] + "0", "1.a.b", "", "é", self.nonce(TWO) + "x"):
            self.assert_refused(self.post(PATH, self.wanted(nonce)), 400, "M_UNKNOWN")

    def test_name_must_be_free_and_possible(self) -> None:
        self.given_user("alice")
        self.assert_refused(self.post(PATH, self.wanted(self.nonce())), 400, "M_USER_IN_USE")
        nonce = self.nonce()
        body = {**self.wanted(nonce), "username": "a b", "mac": mac(nonce, "a b", "a password", "notadmin")}
        self.assert_refused(self.post(PATH, body), 400, "M_INVALID_USERNAME")
        body = {**self.wanted(self.nonce()), "username": "a\0b"}
        self.assert_refused(self.post(PATH, body), 400, "M_INVALID_PARAM")

    def test_account_is_in_its_organisation_only(self) -> None:
        self.ok(self.post(PATH, self.wanted(self.nonce())))
        answer = self.call("GET", "/_matrix/client/v3/profile/@alice:one.example", server_name=TWO)
        self.assert_refused(answer, 404, "M_NOT_FOUND")
