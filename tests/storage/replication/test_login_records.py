"""Logins, registrations, reports and what was taken from other servers, on two sites."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.device_lists import DeviceListsRepository
from storage.login_bans import BanRules, ForgetLoginFailures, LoginBansRepository, RecordLoginFailure
from storage.login_tokens import CreateLoginToken, TakeLoginToken
from storage.openid import AddOpenIdToken, OpenIdRepository
from storage.presence import PresenceRepository, SetPresence
from storage.received_transactions import ReceivedTransactionsRepository
from storage.received_transactions import RecordReceived as RecordReceivedTransaction
from storage.registration_tokens import (
    CreateRegistrationToken,
    DeleteRegistrationToken,
    RegistrationTokenRow,
    RegistrationTokensRepository,
    ReserveRegistrationToken,
    UpdateRegistrationToken,
    UseRegistrationToken,
)
from storage.remote_devices import (
    AlreadyReceived,
    RecordReceived,
    RemoteDevice,
    RemoteDevicesRepository,
    SetRemoteDevices,
    UpdateRemoteDevice,
)
from storage.replication.own_site import become_site
from storage.reports import MakeReport, ReportKind, ReportsRepository
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
ADDRESS = "192.0.2.1"
RULES = BanRules(10, (1_000, 2_000, 3_000), 10_000_000, 10_000_000)
REPORT = MakeReport(ReportKind.ROOM, 5, ALICE, "!room:one.example", None, None, "why", None)


class LoginRecordsTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        for site in (self.anna, self.berta):
            site.become(f"log of {site.name}")

    def guess(self, site: StoredSite, count: int = 1) -> list[object]:
        return [
            site.commit(RecordLoginFailure(ADDRESS, ALICE, site.now_ms, RULES)).results[0]
            for _ in range(count)
        ]

    def test_failures_count_on_both_sites(self) -> None:
        self.guess(self.anna, 9)
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.guess(self.berta), [True])
        self.exchange(self.anna, self.berta)
        bans = [
            site.read(lambda tx: LoginBansRepository().find_ban(tx, ADDRESS))
            for site in (self.anna, self.berta)
        ]
        self.assertEqual(bans[0], bans[1])
        self.assertIsNotNone(bans[0])
        # Counting begins anew at both.
        self.assertEqual(self.guess(self.anna), [False])

    def test_a_right_password_at_one_site_is_known_at_the_other(self) -> None:
        self.guess(self.anna, 5)
        self.exchange(self.anna, self.berta)
        self.berta.commit(ForgetLoginFailures(ADDRESS, ALICE))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            found = site.read(
                lambda tx: LoginBansRepository().find_ban_end_ms_and_failures(tx, ADDRESS, ALICE)
            )
            self.assertFalse(found[1])

    def test_bans_made_in_a_cut_are_as_long_as_the_longer(self) -> None:
        self.guess(self.anna, 20)
        self.berta.now_ms += 10
        self.guess(self.berta, 10)
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            ban = site.read(lambda tx: LoginBansRepository().find_ban(tx, ADDRESS))
            self.assertEqual(None if ban is None else (ban.level, ban.until_ms), (2, 1_002_000))

    def test_failures_and_bans_in_any_order_end_the_same(self) -> None:
        for seed in range(15):
            choice = random.Random(seed)
            sites = (self.anna, self.berta)
            for _ in range(30):
                site = choice.choice(sites)
                site.now_ms += choice.choice((0, 1, 3))
                act = choice.randrange(4)
                if act < 2:
                    self.guess(site, choice.randrange(1, 4))
                elif act == 2 and choice.random() < 0.3:
                    site.commit(ForgetLoginFailures(ADDRESS, ALICE))
                else:
                    other = sites[1 - sites.index(site)]
                    site.take_in(other.name, [placed.record for placed in other.export(site.name)])
            self.exchange(*sites)
            self.exchange(*sites)
            bans = [site.read(lambda tx: LoginBansRepository().find_ban(tx, ADDRESS)) for site in sites]
            self.assertEqual(bans[0], bans[1])

    def test_a_login_token_is_good_at_either_site_and_once(self) -> None:
        self.anna.commit(CreateLoginToken(b"digest", ALICE, 1, 100))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.berta.commit(TakeLoginToken(b"digest", 2)).results[0], ALICE)
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertIsNone(site.commit(TakeLoginToken(b"digest", 3)).results[0])

    def test_an_openid_token_is_good_at_either_site(self) -> None:
        self.anna.commit(AddOpenIdToken(b"digest", ALICE, 100, 1))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.berta.read(lambda tx: OpenIdRepository().find_user(tx, b"digest", 50)), ALICE)

    def token(self, site: StoredSite) -> RegistrationTokenRow | None:
        return site.read(lambda tx: RegistrationTokensRepository().find(tx, "token", 1))

    def use(self, site: StoredSite, session: str) -> None:
        site.commit(ReserveRegistrationToken("token", session, 1, 100))
        site.commit(UseRegistrationToken("token", session))

    def test_uses_of_a_registration_token_count_together(self) -> None:
        self.anna.commit(CreateRegistrationToken("token", 3, None))
        self.exchange(self.anna, self.berta)
        self.use(self.anna, "a")
        self.use(self.berta, "b")
        self.exchange(self.anna, self.berta)
        rows = [self.token(site) for site in (self.anna, self.berta)]
        self.assertEqual([None if row is None else row.completed for row in rows], [2, 2])
        self.berta.commit(UpdateRegistrationToken("token", 5, None))
        self.exchange(self.anna, self.berta)
        row = self.token(self.anna)
        self.assertEqual(None if row is None else (row.uses_allowed, row.completed), (5, 2))
        self.anna.commit(DeleteRegistrationToken("token"))
        self.exchange(self.anna, self.berta)
        self.assertIsNone(self.token(self.berta))

    def test_a_copied_database_counts_the_uses_of_where_it_came_from(self) -> None:
        self.anna.commit(CreateRegistrationToken("token", 3, None))
        self.use(self.anna, "a")
        self.anna.database.write_now(lambda tx: become_site(tx, "carla", "log of carla", ("anna",)))
        self.use(self.anna, "b")
        row = self.token(self.anna)
        uses = self.anna.read(
            lambda tx: RegistrationTokensRepository().find_uses(tx, "token", "log of carla")
        )
        self.assertEqual((None if row is None else row.completed, uses), (2, 1))

    def test_a_report_is_on_both_sites_once(self) -> None:
        self.anna.commit(REPORT)
        self.exchange(self.anna, self.berta)
        rows = self.berta.read(lambda tx: ReportsRepository().get_before(tx, 10**9, 10))
        self.assertEqual([(row.reporter, row.reason) for row in rows], [(ALICE, "why")])

    def state_of(self, site: StoredSite, user_id: str) -> tuple[int, bool] | None:
        return site.read(lambda tx: RemoteDevicesRepository().find_state(tx, user_id))

    def test_a_remote_device_list_that_changed_at_one_site_is_not_trusted_at_the_other(self) -> None:
        far = "@far:far.example"
        for site in (self.anna, self.berta):
            site.commit(SetRemoteDevices(far, 1, (RemoteDevice("OLD", b"{}"),)))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.state_of(self.berta, far), (1, False))
        before = self.berta.log.position
        self.anna.commit(UpdateRemoteDevice(far, 1, 2, "NEW", b"{}"))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.state_of(self.berta, far), (1, True))
        changed = self.berta.read(lambda tx: DeviceListsRepository().get_changed_users(tx, ALICE, before))
        self.assertEqual(changed.for_everybody, {far})
        # Asked again, both know the same, and neither doubts the other.
        self.berta.commit(SetRemoteDevices(far, 2, (RemoteDevice("NEW", b"{}"),)))
        self.exchange(self.anna, self.berta)
        states = [self.state_of(site, far) for site in (self.anna, self.berta)]
        self.assertEqual(states, [(2, False)] * 2)

    def test_a_site_knows_of_whom_the_other_site_was_told(self) -> None:
        far, near = "@far:far.example", "@near:far.example"
        self.anna.commit(
            SetPresence(far, "online", None, 1, False), SetPresence(near, "offline", None, 1, False)
        )
        self.exchange(self.anna, self.berta)
        told = [site.read(PresenceRepository().get_told_elsewhere) for site in (self.anna, self.berta)]
        self.assertEqual(told, [set(), {far}])
        self.berta.commit(SetPresence(far, "unavailable", None, 2, False))
        self.exchange(self.anna, self.berta)
        told = [site.read(PresenceRepository().get_told_elsewhere) for site in (self.anna, self.berta)]
        self.assertEqual(told, [{far}, set()])

    def test_what_was_taken_from_other_servers_is_not_taken_again_at_the_other_site(self) -> None:
        self.anna.commit(RecordReceivedTransaction("far.example", "1", b"{}", 1))
        self.anna.commit(RecordReceived("far.example", "message", 1))
        self.exchange(self.anna, self.berta)
        answer = self.berta.read(
            lambda tx: ReceivedTransactionsRepository().find_answer(tx, "far.example", "1")
        )
        self.assertEqual(answer, b"{}")
        with self.assertRaises(AlreadyReceived):  # type: ignore[attr-defined]
            self.berta.commit(RecordReceived("far.example", "message", 2))


class SqliteLoginRecordsTests(SqliteStorage, LoginRecordsTests, SynchronousTestCase): ...


class PostgresLoginRecordsTests(PostgresStorage, LoginRecordsTests, SynchronousTestCase): ...
