"""Looking up, locking and suspending accounts."""

from twisted.internet.defer import Deferred

from storage.accounts import AccountFlag, SetAccountFlag
from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase
from tests.popcube_server.server_case import TWO, TestUser

WHOIS = "/_matrix/client/v3/admin/whois"
LOCK = "/_matrix/client/v1/admin/lock"
SUSPEND = "/_matrix/client/v1/admin/suspend"
WHOAMI = "/_matrix/client/v3/account/whoami"
CAPABILITIES = "/_matrix/client/v3/capabilities"


class AdminCase(WitnessedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.admin = self.given_admin("admin")

    def given_admin(self, name: str) -> TestUser:
        user = self.given_user(name)
        change = SetAccountFlag(user.user_id, AccountFlag.ADMIN, True)
        committer = self.organisations[user.server_name].core.committer
        self.successResultOf(Deferred.fromCoroutine(committer.commit(change)))
        return user


class WhoisTests(AdminCase):
    def test_user_and_administrator_see_where_devices_were(self) -> None:
        self.call("GET", WHOAMI, None, self.alice, {"User-Agent": "Test/1"})
        self.clock.advance(15)
        for user in (self.alice, self.admin):
            answer = self.ok(self.get(f"{WHOIS}/{self.alice.user_id}", user))
            self.assertEqual(answer["user_id"], self.alice.user_id)
            connections = answer["devices"][self.alice.device_id]["sessions"][0]["connections"]
            self.assertEqual((connections[0]["ip"], connections[0]["user_agent"]), ("127.0.0.1", "Test/1"))

    def test_others_see_nothing(self) -> None:
        self.assert_refused(self.get(f"{WHOIS}/{self.admin.user_id}", self.alice), 403, "M_FORBIDDEN")
        self.assert_refused(self.get(f"{WHOIS}/@nobody:one.example", self.alice), 403, "M_FORBIDDEN")

    def test_only_users_of_this_server_are_known(self) -> None:
        self.assert_refused(self.get(f"{WHOIS}/@nobody:one.example", self.admin), 404, "M_NOT_FOUND")
        self.assert_refused(self.get(f"{WHOIS}/@alice:two.example", self.admin), 400, "M_INVALID_PARAM")


class LockTests(AdminCase):
    def test_locked_user_can_only_log_out_until_unlocked(self) -> None:
        path = f"{LOCK}/{self.alice.user_id}"
        phone = self.given_login(self.alice)
        self.assertEqual(self.ok(self.get(path, self.admin)), {"locked": False})
        self.assertEqual(self.ok(self.put(path, {"locked": True}, self.admin)), {"locked": True})
        self.assertEqual(self.ok(self.get(path, self.admin)), {"locked": True})
        answer = self.get(WHOAMI, self.alice)
        self.assert_refused(answer, 401, "M_USER_LOCKED")
        self.assertTrue(answer[1]["soft_logout"])
        self.ok(self.post("/_matrix/client/v3/logout", {}, phone))
        self.ok(self.put(path, {"locked": False}, self.admin))
        self.ok(self.get(WHOAMI, self.alice))
        self.assert_refused(self.get(WHOAMI, phone), 401, "M_UNKNOWN_TOKEN")

    def test_who_may_not_is_refused_before_anything_is_looked_up(self) -> None:
        for path in (LOCK, SUSPEND):
            for user_id in (self.admin.user_id, "@nobody:one.example", "@alice:two.example"):
                key = path.rpartition("/")[2] + "ed"
                self.assert_refused(self.get(f"{path}/{user_id}", self.alice), 403, "M_FORBIDDEN")
                self.assert_refused(
                    self.put(f"{path}/{user_id}", {key: True}, self.alice), 403, "M_FORBIDDEN"
                )

    def test_administrators_are_safe_from_each_other_and_themselves(self) -> None:
        other = self.given_admin("other")
        for user in (self.admin, other):
            path = f"{LOCK}/{user.user_id}"
            self.assert_refused(self.put(path, {"locked": True}, self.admin), 403, "M_FORBIDDEN")
            self.ok(self.get(WHOAMI, user))

    def test_only_users_of_this_server_can_be_locked(self) -> None:
        body = {"locked": True}
        self.assert_refused(self.put(f"{LOCK}/@nobody:one.example", body, self.admin), 404, "M_NOT_FOUND")
        self.assert_refused(self.put(f"{LOCK}/@alice:two.example", body, self.admin), 400, "M_INVALID_PARAM")
        self.assert_refused(self.get(f"{LOCK}/alice", self.admin), 400, "M_INVALID_PARAM")
        self.assert_refused(self.put(f"{LOCK}/{self.alice.user_id}", {}, self.admin), 400, "M_MISSING_PARAM")

    def test_administrator_of_one_organisation_is_nobody_in_the_other(self) -> None:
        elsewhere = self.given_user("admin", TWO)
        bob = self.given_user("bob", TWO)
        answer = self.put(f"{LOCK}/{bob.user_id}", {"locked": True}, elsewhere)
        self.assert_refused(answer, 403, "M_FORBIDDEN")


class SuspendTests(AdminCase):
    def test_suspended_moderator_throws_nobody_out_and_may_leave(self) -> None:
        bob = self.given_user("bob")
        room = self.given_room(self.alice)
        self.given_joined(bob, room)
        self.ok(self.put(f"{SUSPEND}/{self.alice.user_id}", {"suspended": True}, self.admin))
        path = f"/_matrix/client/v3/rooms/{room}"
        for verb in ("kick", "ban", "unban"):
            answer = self.post(f"{path}/{verb}", {"user_id": bob.user_id}, self.alice)
            self.assert_refused(answer, 403, "M_USER_SUSPENDED")
        answer = self.put(f"{path}/state/m.room.member/{bob.user_id}", {"membership": "ban"}, self.alice)
        self.assert_refused(answer, 403, "M_USER_SUSPENDED")
        self.ok(self.post(f"{path}/leave", {}, self.alice))

    def test_suspended_user_reads_but_changes_no_profile(self) -> None:
        path = f"{SUSPEND}/{self.alice.user_id}"
        self.assertEqual(self.ok(self.put(path, {"suspended": True}, self.admin)), {"suspended": True})
        self.assertEqual(self.ok(self.get(path, self.admin)), {"suspended": True})
        self.ok(self.get(WHOAMI, self.alice))
        profile = f"/_matrix/client/v3/profile/{self.alice.user_id}/displayname"
        answer = self.put(profile, {"displayname": "x"}, self.alice)
        self.assert_refused(answer, 403, "M_USER_SUSPENDED")
        self.ok(self.put(path, {"suspended": False}, self.admin))
        self.ok(self.put(profile, {"displayname": "x"}, self.alice))

    def test_only_administrators_are_told_that_they_can(self) -> None:
        mine = self.ok(self.get(CAPABILITIES, self.admin))["capabilities"]
        self.assertEqual(mine["m.account_moderation"], {"lock": True, "suspend": True})
        self.assertNotIn("m.account_moderation", self.ok(self.get(CAPABILITIES, self.alice))["capabilities"])
