"""Guessing passwords does not pay."""

from typing import Any

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO

LOGIN = "/_matrix/client/v3/login"
MINUTE_S = 60
WEEK_S = 7 * 24 * 3600


def with_password(user: str, password: str) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": user}
    return {"type": "m.login.password", "identifier": identifier, "password": password}


class LoginBanTests(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.given_user("alice")

    def fail_logins(self, count: int) -> None:
        for _ in range(count):
            self.assert_refused(self.post(LOGIN, with_password("alice", "wrong")), 403, "M_FORBIDDEN")

    def log_in(self) -> tuple[int, Any]:
        return self.post(LOGIN, with_password("alice", "password of alice"))

    def assert_banned_for(self, seconds: float) -> None:
        answer = self.log_in()
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(answer[1]["retry_after_ms"], seconds * 1000)
        # Who is banned does not learn whether a guess was wrong.
        self.assertEqual(self.post(LOGIN, with_password("alice", "wrong")), answer)

    def test_ten_failures_ban_the_address_for_longer_each_time(self) -> None:
        for ban_s in (5 * MINUTE_S, WEEK_S, 61 * 24 * 3600, 61 * 24 * 3600):
            self.fail_logins(10)
            self.assert_banned_for(ban_s)
            self.clock.advance(ban_s)
        self.ok(self.log_in())

    def test_nine_failures_do_no_harm(self) -> None:
        self.fail_logins(9)
        self.ok(self.log_in())

    def test_ban_outlives_a_restart_and_is_the_organisations_own(self) -> None:
        self.fail_logins(10)
        self.restart()
        self.assert_banned_for(5 * MINUTE_S)
        self.given_user("alice", TWO)
        body = with_password("alice", "password of alice")
        self.ok(self.call("POST", LOGIN, body, server_name=TWO))

    def test_success_forgets_the_failures_of_its_own_account_only(self) -> None:
        self.given_user("mallory")
        for _ in range(5):
            self.fail_logins(1)
            self.ok(self.post(LOGIN, with_password("mallory", "password of mallory")))
        self.fail_logins(5)
        self.assert_banned_for(5 * MINUTE_S)

    def test_own_success_makes_up_for_own_failures(self) -> None:
        self.fail_logins(9)
        self.ok(self.log_in())
        self.fail_logins(9)
        self.ok(self.log_in())

    def test_failures_are_forgotten_after_a_day(self) -> None:
        self.fail_logins(9)
        self.clock.advance(24 * 3600 + 1)
        self.fail_logins(9)
        self.ok(self.log_in())

    def test_password_to_confirm_something_counts_too(self) -> None:
        alice = self.given_login(self.given_user("bob"))
        auth = {"type": "m.login.password", "user": "bob", "password": "wrong"}
        for _ in range(10):
            status, _answer = self.delete(
                "/_matrix/client/v3/devices/" + alice.device_id, alice, {"auth": auth}
            )
            self.assertEqual(status, 401)
        self.assert_banned_for(5 * MINUTE_S)


class LoginLimitTests(WitnessedTestCase):
    limits = """
rc_login:
  failed_attempts: {per_second: 0.1, burst_count: 3}
  address: {per_second: 1, burst_count: 50}
  account: {per_second: 1, burst_count: 50}
"""

    def test_account_may_be_tried_a_few_times_only(self) -> None:
        self.given_user("alice")
        for _ in range(3):
            self.assert_refused(self.post(LOGIN, with_password("alice", "wrong")), 403, "M_FORBIDDEN")
        answer = self.post(LOGIN, with_password("alice", "password of alice"))
        self.assert_refused(answer, 429, "M_LIMIT_EXCEEDED")
        self.clock.advance(answer[1]["retry_after_ms"] / 1000)
        self.ok(self.post(LOGIN, with_password("alice", "password of alice")))
