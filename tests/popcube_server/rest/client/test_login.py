"""Logging in, and what the token is good for afterwards."""

from tests.popcube_server.server_case import TWO, ServerTestCase

WHOAMI = "/_matrix/client/v3/account/whoami"


class LoginTests(ServerTestCase):
    def test_token_survives_a_restart(self) -> None:
        alice = self.given_user("alice")
        self.restart()
        answer = self.ok(self.get(WHOAMI, alice))
        self.assertEqual((answer["user_id"], answer["device_id"]), (alice.user_id, alice.device_id))

    def test_login_with_an_existing_device_ends_its_tokens(self) -> None:
        alice = self.given_user("alice")
        again = self.given_login(alice, alice.device_id)
        self.ok(self.get(WHOAMI, again))
        self.assert_refused(self.get(WHOAMI, alice), 401, "M_UNKNOWN_TOKEN")

    def test_token_of_one_organisation_is_unknown_to_the_other(self) -> None:
        alice = self.given_user("alice")
        headers = {"Authorization": f"Bearer {alice.access_token}"}
        self.assert_refused(
            self.call("GET", WHOAMI, headers=headers, server_name=TWO), 401, "M_UNKNOWN_TOKEN"
        )
