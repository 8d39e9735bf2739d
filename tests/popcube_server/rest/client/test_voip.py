"""Credentials for calls."""

import base64
import hashlib
import hmac

from tests.popcube_server.server_case import ONE, START_S, TWO, ServerTestCase, TestUser

V3 = "/_matrix/client/v3"
URI = "turn:turn.one.example:3478?transport=udp"


class VoipCase(ServerTestCase):
    def given_guest(self) -> TestUser:
        answer = self.ok(self.post(f"{V3}/register?kind=guest", {}))
        return TestUser(ONE, answer["user_id"], answer["access_token"], answer["device_id"])


class NoTurnTests(VoipCase):
    def test_server_without_turn_says_so(self) -> None:
        self.assertEqual(self.get(f"{V3}/voip/turnServer", self.given_user("alice")), (200, {}))

    def test_stranger_gets_nothing(self) -> None:
        self.assert_refused(self.get(f"{V3}/voip/turnServer"), 401, "M_MISSING_TOKEN")


class SharedSecretTests(VoipCase):
    extra_configuration = f"""
allow_guest_access: true
turn_uris: ["{URI}"]
turn_shared_secret: north
turn_user_lifetime: 2h
turn_allow_guests: false
"""

    def test_credentials_are_the_users_own_and_end(self) -> None:
        for server_name in (ONE, TWO):
            alice = self.given_user("alice", server_name)
            username = f"{int(START_S) + 7200}:{alice.user_id}"
            mac = hmac.new(b"north", username.encode(), hashlib.sha1).digest()
            expected = {
                "username": username,
                "password": base64.b64encode(mac).decode(),
                "uris": [URI],
                "ttl": 7200,
            }
            self.assertEqual(self.get(f"{V3}/voip/turnServer", alice), (200, expected))

    def test_guests_are_refused_if_they_should_be(self) -> None:
        answer = self.get(f"{V3}/voip/turnServer", self.given_guest())
        self.assert_refused(answer, 403, "M_GUEST_ACCESS_FORBIDDEN")


class PasswordTests(VoipCase):
    extra_configuration = f"""
allow_guest_access: true
turn_uris: "{URI}"
turn_username: everybody
turn_password: secret
"""

    def test_all_have_the_same_password(self) -> None:
        expected = {"username": "everybody", "password": "secret", "uris": [URI], "ttl": 3600}
        for user in (self.given_user("alice"), self.given_guest()):
            self.assertEqual(self.get(f"{V3}/voip/turnServer", user), (200, expected))
