"""Accounts, devices and sessions that two sites made or changed apart."""

from twisted.trial.unittest import SynchronousTestCase

from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.accounts import (
    AccountFlag,
    AccountRow,
    AccountsRepository,
    CreateAccount,
    DeactivateAccount,
    SetAccountFlag,
    SetPasswordHash,
)
from storage.devices import AddDevice, DeleteDevice, DeviceRow, DevicesRepository, RenameDevice
from storage.sessions import (
    CreateSession,
    EndSessionsOfUser,
    IssueNextTokens,
    SessionRow,
    SessionsRepository,
    UseNextTokens,
)
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

BOB = "@bob:one.example"


def account(site: StoredSite) -> AccountRow | None:
    return site.read(lambda tx: AccountsRepository().find(tx, BOB))


def session(site: StoredSite, session_id: str) -> SessionRow | None:
    return site.read(lambda tx: SessionsRepository().find(tx, session_id))


def devices(site: StoredSite) -> list[DeviceRow]:
    return site.read(lambda tx: DevicesRepository().get_of_user(tx, BOB))


class AccountRecordsTests(SitesMixin):
    def given_bob(self, site: StoredSite, incarnation: str = "one") -> None:
        site.commit(
            CreateAccount(BOB, f"hash at {site.name}", site.now_ms, False, False, None, incarnation),
            AddDevice(BOB, f"PHONE_{site.name}", "Phone", site.now_ms),
            CreateSession(f"session of {site.name}", BOB, f"PHONE_{site.name}", site.now_ms, "nonce"),
        )

    def given_bob_everywhere(self) -> None:
        self.given_bob(self.anna)
        self.berta.hear(self.anna)

    def test_an_account_is_on_both_sites_with_its_login(self) -> None:
        self.given_bob_everywhere()
        self.assertEqual(account(self.berta), account(self.anna))
        self.assertEqual(devices(self.berta), devices(self.anna))
        self.assertEqual(session(self.berta, "session of anna"), session(self.anna, "session of anna"))

    def test_a_new_password_and_a_flag_set_apart_are_both_kept(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(SetPasswordHash(BOB, "new"))
        self.berta.commit(SetAccountFlag(BOB, AccountFlag.LOCKED, True))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            row = account(site)
            assert row is not None
            self.assertEqual((row.password_hash, row.is_locked), ("new", True))

    def test_deactivation_is_for_good(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(DeactivateAccount(BOB, False))
        self.berta.now_ms += 1000
        self.berta.commit(SetPasswordHash(BOB, "new"))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            row = account(site)
            assert row is not None
            self.assertEqual((row.is_deactivated, row.password_hash), (True, None))

    def test_a_name_registered_on_both_sites_is_the_earlier_ones(self) -> None:
        self.given_bob(self.anna, "annas")
        self.berta.now_ms += 5
        self.given_bob(self.berta, "bertas")
        self.berta.commit(SetAccountData(BOB, NO_ROOM, "secret", b'{"of":"the other Bob"}'))
        lost: list[str] = []
        self.berta.log.follow(
            lambda entries: lost.extend(entry.key[0] for entry in entries if entry.kind == "account_lost")
        )
        self.exchange(self.berta, self.anna)
        for site in (self.anna, self.berta):
            row = account(site)
            assert row is not None
            self.assertEqual(row.password_hash, "hash at anna")
            self.assertEqual([device.device_id for device in devices(site)], ["PHONE_anna"])
            self.assertIsNotNone(session(site, "session of anna"))
            self.assertIsNone(session(site, "session of berta"))
            data = site.read(lambda tx: AccountDataRepository().find(tx, BOB, NO_ROOM, "secret"))
            self.assertIsNone(data)
        self.assertEqual(lost, [BOB])

    def test_what_the_loser_wrote_does_not_undo_what_the_winner_wrote(self) -> None:
        self.given_bob(self.anna, "annas")
        self.anna.commit(SetAccountData(BOB, NO_ROOM, "theme", b'{"n":1}'))
        self.berta.now_ms += 5
        self.given_bob(self.berta, "bertas")
        self.berta.commit(SetAccountData(BOB, NO_ROOM, "theme", b'{"n":2}'))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            row = site.read(lambda tx: AccountDataRepository().find(tx, BOB, NO_ROOM, "theme"))
            self.assertEqual(None if row is None else row.content, b'{"n":1}')

    def test_a_logout_is_everywhere_and_stays(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(EndSessionsOfUser(BOB, 7))
        self.berta.commit(IssueNextTokens("session of anna", BOB, 0, "next"))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertIsNone(session(site, "session of anna"))

    def test_a_login_beside_a_logout_of_all_ends_the_same_on_both(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(EndSessionsOfUser(BOB, 7))
        self.berta.commit(CreateSession("new", BOB, "TABLET", 8, "nonce"))
        self.exchange(self.anna, self.berta)
        self.assertEqual(session(self.anna, "new"), session(self.berta, "new"))
        self.assertIsNotNone(session(self.anna, "new"))

    def test_tokens_refreshed_on_both_sites_end_as_one_generation(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(IssueNextTokens("session of anna", BOB, 0, "of anna"))
        self.berta.now_ms += 1
        self.berta.commit(IssueNextTokens("session of anna", BOB, 0, "of berta"))
        self.exchange(self.anna, self.berta)
        found = [session(site, "session of anna") for site in (self.anna, self.berta)]
        assert found[0] is not None
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0].next_nonce, "of berta")

    def test_the_generation_that_is_in_use_is_ahead_of_one_that_was_only_issued(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(IssueNextTokens("session of anna", BOB, 0, "of anna"))
        self.anna.commit(UseNextTokens("session of anna", BOB, "of anna"))
        self.berta.now_ms += 1
        self.berta.commit(IssueNextTokens("session of anna", BOB, 0, "of berta"))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            found = session(site, "session of anna")
            assert found is not None
            self.assertEqual((found.generation, found.nonce), (1, "of anna"))

    def test_a_device_that_was_deleted_is_not_renamed_back_to_life(self) -> None:
        self.given_bob_everywhere()
        self.anna.commit(DeleteDevice(BOB, "PHONE_anna"))
        self.berta.now_ms += 1000
        self.berta.commit(RenameDevice(BOB, "PHONE_anna", "My phone"))
        self.exchange(self.anna, self.berta)
        self.assertEqual([devices(site) for site in (self.anna, self.berta)], [[], []])


class SqliteAccountRecordsTests(SqliteStorage, AccountRecordsTests, SynchronousTestCase): ...


class PostgresAccountRecordsTests(PostgresStorage, AccountRecordsTests, SynchronousTestCase): ...
