"""Refresh tokens: a chain in which nothing is lost and nothing is good twice."""

from typing import Any

from storage.change import Change
from storage.committer import Committed, Fence
from storage.sessions import EndSession, UseNextTokens
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import ONE, TWO, TestUser

LOGIN = "/_matrix/client/v3/login"
REFRESH = "/_matrix/client/v3/refresh"
WHOAMI = "/_matrix/client/v3/account/whoami"


class RefreshTests(WitnessedTestCase):
    extra_configuration = "refreshable_access_token_lifetime: 5m\nrefresh_token_lifetime: 1d"

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.first = self.log_in()

    def log_in(self) -> dict[str, Any]:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "password": "password of alice",
            "refresh_token": True,
        }
        answer: dict[str, Any] = self.ok(self.post(LOGIN, body))
        return answer

    def refresh(self, tokens: dict[str, Any]) -> tuple[int, Any]:
        return self.post(REFRESH, {"refresh_token": tokens["refresh_token"]})

    def whoami(self, tokens: dict[str, Any]) -> tuple[int, Any]:
        return self.get(WHOAMI, TestUser(ONE, "", tokens["access_token"], ""))

    def test_register_gives_a_refresh_token_to_who_asks(self) -> None:
        body = {"username": "bob", "password": "x", "auth": {"type": "m.login.dummy"}, "refresh_token": True}
        answer = self.ok(self.post("/_matrix/client/v3/register", body))
        self.assertEqual(answer["expires_in_ms"], 300_000)
        self.ok(self.refresh(answer))

    def test_expired_token_is_softly_logged_out_and_can_be_renewed(self) -> None:
        self.assertEqual(self.first["expires_in_ms"], 300_000)
        self.ok(self.whoami(self.first))
        self.clock.advance(300)
        answer = self.whoami(self.first)
        self.assert_refused(answer, 401, "M_UNKNOWN_TOKEN")
        self.assertTrue(answer[1]["soft_logout"])
        second = self.ok(self.refresh(self.first))
        self.assertEqual(self.ok(self.whoami(second))["device_id"], self.first["device_id"])

    def test_old_pair_is_good_until_the_new_access_token_is_used(self) -> None:
        second = self.ok(self.refresh(self.first))
        self.ok(self.whoami(self.first))
        self.ok(self.whoami(second))
        self.assert_refused(self.whoami(self.first), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.refresh(self.first), 401, "M_UNKNOWN_TOKEN")

    def test_logout_while_a_new_token_is_used_first_is_not_missed(self) -> None:
        second = self.ok(self.refresh(self.first))
        committer = self.organisations[ONE].core.committer
        real_commit = committer.commit

        async def log_out_first(*changes: Change, fence: Fence | None = None) -> Committed:
            (use,) = changes
            assert isinstance(use, UseNextTokens)
            self.patch(committer, "commit", real_commit)
            await real_commit(EndSession(use.session_id, use.user_id, 1))
            return await real_commit(use)

        self.patch(committer, "commit", log_out_first)
        for _ in range(2):
            self.assert_refused(self.whoami(second), 401, "M_UNKNOWN_TOKEN")

    def test_old_pair_is_good_until_the_new_refresh_token_is_used(self) -> None:
        second = self.ok(self.refresh(self.first))
        third = self.ok(self.refresh(second))
        self.assert_refused(self.refresh(self.first), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.whoami(self.first), 401, "M_UNKNOWN_TOKEN")
        self.ok(self.whoami(third))

    def test_client_that_missed_the_answer_asks_again(self) -> None:
        missed = self.ok(self.refresh(self.first))
        second = self.ok(self.refresh(self.first))
        self.assert_refused(self.whoami(missed), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.refresh(missed), 401, "M_UNKNOWN_TOKEN")
        self.ok(self.whoami(second))

    def test_chain_goes_on_over_a_restart(self) -> None:
        second = self.ok(self.refresh(self.first))
        self.restart()
        third = self.ok(self.refresh(second))
        self.ok(self.whoami(third))

    def test_session_stays_the_same(self) -> None:
        authenticator = self.organisations[ONE].site.authenticator
        self.ok(self.whoami(self.first))
        before = authenticator.find_requester(self.first["access_token"])
        second = self.ok(self.refresh(self.first))
        self.ok(self.whoami(second))
        after = authenticator.find_requester(second["access_token"])
        assert before is not None
        assert after is not None
        self.assertEqual(before.session_id, after.session_id)

    def test_refresh_token_expires(self) -> None:
        self.clock.advance(24 * 3600)
        self.assert_refused(self.refresh(self.first), 401, "M_UNKNOWN_TOKEN")

    def test_logout_ends_both(self) -> None:
        self.ok(self.post("/_matrix/client/v3/logout", {}, TestUser(ONE, "", self.first["access_token"], "")))
        self.assert_refused(self.refresh(self.first), 401, "M_UNKNOWN_TOKEN")

    def test_one_kind_of_token_is_not_the_other(self) -> None:
        swapped = {
            "access_token": self.first["refresh_token"],
            "refresh_token": self.first["access_token"],
        }
        self.assert_refused(self.whoami(swapped), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.refresh(swapped), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.post(REFRESH, {"refresh_token": "x"}), 401, "M_UNKNOWN_TOKEN")
        self.assert_refused(self.post(REFRESH, {}), 400, "M_MISSING_PARAM")

    def test_token_of_one_organisation_is_unknown_to_the_other(self) -> None:
        body = {"refresh_token": self.first["refresh_token"]}
        self.assert_refused(self.call("POST", REFRESH, body, server_name=TWO), 401, "M_UNKNOWN_TOKEN")
