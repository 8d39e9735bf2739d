"""Accounts, sessions, devices, profiles, tokens and bans on both engines."""

from twisted.trial.unittest import SynchronousTestCase

from storage.accounts import (
    AccountExists,
    AccountFlag,
    AccountRow,
    AccountsRepository,
    CreateAccount,
    DeactivateAccount,
    SetAccountFlag,
    SetPasswordHash,
)
from storage.change import Change
from storage.devices import AddDevice, DeleteDevice, DevicesRepository, RenameDevice, SeeDevice
from storage.login_attempts import LoginAttempt, LoginAttemptsRepository
from storage.login_bans import BanRules, ForgetLoginFailures, LoginBansRepository, RecordLoginFailure
from storage.login_tokens import CreateLoginToken, TakeLoginToken
from storage.profiles import (
    ClearProfile,
    DeleteProfileField,
    ProfilesRepository,
    ProfileTooLarge,
    SetProfileField,
)
from storage.registration_tokens import (
    CreateRegistrationToken,
    DeleteRegistrationToken,
    RegistrationTokensRepository,
    ReserveRegistrationToken,
    TokenExists,
    TokenUsedUp,
    UpdateRegistrationToken,
    UseRegistrationToken,
)
from storage.sessions import (
    CreateSession,
    EndSession,
    EndSessionsOfDevice,
    EndSessionsOfUser,
    IssueNextTokens,
    SessionRow,
    SessionsRepository,
    UseNextTokens,
)
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
RULES = BanRules(failures=3, durations_ms=(100, 1000), forget_failures_ms=500, forget_bans_ms=5000)


def account(user_id: str) -> CreateAccount:
    return CreateAccount(user_id, "hash", 5, False, False, None)


class AccountsTests(StorageMixin):
    def commit(self, *changes: Change) -> tuple[object, ...]:
        return self.result(self.committer.commit(*changes)).results

    # Accounts

    def test_account_is_read_back(self) -> None:
        self.commit(CreateAccount(ALICE, None, 5, True, False, "bot"))
        row = self.read(lambda tx: AccountsRepository().find(tx, ALICE))
        assert row is not None
        self.assertEqual((row.password_hash, row.created_ms, row.user_type), (None, 5, "bot"))
        self.assertIs(row.is_guest, True)
        self.assertIs(row.is_admin, False)
        self.assertIs(row.is_suspended, False)

    def test_name_is_given_once(self) -> None:
        self.commit(account(ALICE))
        self.failure(self.committer.commit(account(BOB), account(ALICE)), AccountExists)
        self.assertFalse(self.read(lambda tx: AccountsRepository().exists(tx, BOB)))
        self.assertTrue(self.read(lambda tx: AccountsRepository().exists(tx, ALICE)))

    def test_many_are_read_together(self) -> None:
        self.commit(account(ALICE), account(BOB), SetAccountFlag(BOB, AccountFlag.LOCKED, True))
        self.commit(SetProfileField(ALICE, "a.b", b"1"), SetProfileField(ALICE, "a.c", b"2"))
        asked = [*(f"@user{number}:one.example" for number in range(2000)), ALICE, BOB]
        rows = self.read(lambda tx: AccountsRepository().get(tx, asked))
        self.assertEqual({key: row.is_locked for key, row in rows.items()}, {ALICE: False, BOB: True})
        fields = self.read(lambda tx: ProfilesRepository().get_field(tx, asked, "a.b"))
        self.assertEqual(fields, {ALICE: b"1"})

    def test_flags_are_set_one_by_one(self) -> None:
        self.commit(account(ALICE), account(BOB))
        for flag in AccountFlag:
            self.commit(SetAccountFlag(ALICE, flag, True))
            row = self.read(lambda tx: AccountsRepository().find(tx, ALICE))
            self.assertIs(getattr(row, flag.value), True)
            self.commit(SetAccountFlag(ALICE, flag, False))
            row = self.read(lambda tx: AccountsRepository().find(tx, ALICE))
            self.assertIs(getattr(row, flag.value), False)

    def test_deactivated_account_gets_no_password_again(self) -> None:
        self.commit(account(ALICE), account(BOB), SetAccountFlag(ALICE, AccountFlag.ADMIN, True))
        self.commit(
            DeactivateAccount(ALICE, True), SetPasswordHash(ALICE, "new"), SetPasswordHash(BOB, "new")
        )
        row = self.read(lambda tx: AccountsRepository().find(tx, ALICE))
        assert row is not None
        self.assertEqual(
            (row.password_hash, row.is_deactivated, row.is_erased, row.is_admin), (None, True, True, False)
        )
        bob = self.read(lambda tx: AccountsRepository().find(tx, BOB))
        assert bob is not None
        self.assertEqual((bob.password_hash, bob.is_deactivated), ("new", False))

    # Sessions

    def session_is_live(self, session_id: str) -> bool:
        return self.read(lambda tx: SessionsRepository().find(tx, session_id)) is not None

    def with_account(self, session_id: str) -> tuple[SessionRow, AccountRow] | None:
        return self.read(lambda tx: SessionsRepository().find_with_account(tx, session_id))

    def test_session_is_read_with_its_account(self) -> None:
        self.commit(account(ALICE), account(BOB), SetAccountFlag(BOB, AccountFlag.LOCKED, True))
        self.commit(CreateSession("a", ALICE, "A", 7, "n"), CreateSession("b", BOB, "B", 8, "m"))
        session = self.read(lambda tx: SessionsRepository().find(tx, "b"))
        row = self.read(lambda tx: AccountsRepository().find(tx, BOB))
        self.assertEqual(self.with_account("b"), (session, row))
        self.assertIsNotNone(self.with_account("a"))
        self.commit(EndSession("a", ALICE, 9))
        self.assertEqual([self.with_account("a"), self.with_account("c")], [None, None])

    def test_sessions_end_by_session_device_and_user(self) -> None:
        for session_id, user_id, device_id in (
            ("1", ALICE, "A"),
            ("2", ALICE, "A"),
            ("3", ALICE, "B"),
            ("4", BOB, "A"),
        ):
            self.commit(CreateSession(session_id, user_id, device_id, 0, "n"))
        self.commit(EndSession("1", ALICE, 9))
        self.assertEqual([self.session_is_live(number) for number in "1234"], [False, True, True, True])
        self.commit(EndSessionsOfDevice(ALICE, "A", 9))
        self.assertEqual([self.session_is_live(number) for number in "1234"], [False, False, True, True])
        self.commit(EndSessionsOfUser(ALICE, 9))
        self.assertEqual([self.session_is_live(number) for number in "1234"], [False, False, False, True])

    def test_generations_follow_each_other(self) -> None:
        self.commit(CreateSession("1", ALICE, "A", 0, "n0"))
        self.assertEqual(self.commit(IssueNextTokens("1", ALICE, 0, "lost")), (True,))
        self.assertEqual(self.commit(IssueNextTokens("1", ALICE, 0, "n1")), (True,))
        self.commit(UseNextTokens("1", ALICE, "lost"))
        row = self.read(lambda tx: SessionsRepository().find(tx, "1"))
        assert row is not None
        self.assertEqual((row.generation, row.nonce, row.next_nonce), (0, "n0", "n1"))
        self.commit(UseNextTokens("1", ALICE, "n1"), UseNextTokens("1", ALICE, "n1"))
        row = self.read(lambda tx: SessionsRepository().find(tx, "1"))
        assert row is not None
        self.assertEqual((row.generation, row.nonce, row.next_nonce), (1, "n1", None))
        self.assertEqual(self.commit(IssueNextTokens("1", ALICE, 0, "n2")), (False,))
        self.commit(EndSession("1", ALICE, 9))
        self.assertEqual(self.commit(IssueNextTokens("1", ALICE, 1, "n2")), (False,))

    # Devices

    def test_device_keeps_its_name_until_it_is_renamed(self) -> None:
        self.commit(AddDevice(ALICE, "A", "\0 first", 1), AddDevice(ALICE, "A", "second", 2))
        row = self.read(lambda tx: DevicesRepository().find(tx, ALICE, "A"))
        assert row is not None
        self.assertEqual((row.display_name, row.created_ms, row.last_seen_ms), ("\0 first", 1, None))
        self.commit(RenameDevice(ALICE, "A", None), SeeDevice(ALICE, "A", 7, "::1", "agent \0"))
        row = self.read(lambda tx: DevicesRepository().find(tx, ALICE, "A"))
        assert row is not None
        self.assertIsNone(row.display_name)
        self.assertEqual(
            (row.last_seen_ms, row.last_seen_address, row.last_seen_user_agent), (7, "::1", "agent \0")
        )

    def test_devices_of_one_user_are_listed_and_deleted(self) -> None:
        self.commit(
            *(AddDevice(user_id, device_id, None, 1) for user_id in (ALICE, BOB) for device_id in "BA")
        )
        self.commit(DeleteDevice(ALICE, "B"))
        rows = self.read(lambda tx: DevicesRepository().get_of_user(tx, ALICE))
        self.assertEqual([row.device_id for row in rows], ["A"])
        rows = self.read(lambda tx: DevicesRepository().get_of_user(tx, BOB))
        self.assertEqual([row.device_id for row in rows], ["A", "B"])
        self.assertFalse(self.read(lambda tx: DevicesRepository().exists(tx, ALICE, "B")))

    # Profiles

    def profile(self) -> dict[str, bytes]:
        return dict(self.read(lambda tx: ProfilesRepository().get(tx, ALICE)))

    def test_profile_fields_come_and_go(self) -> None:
        self.commit(SetProfileField(ALICE, "a.b", b"1"), SetProfileField(ALICE, "a.b", b"2"))
        self.commit(SetProfileField(ALICE, "a.c", b"3"), SetProfileField(BOB, "a.b", b"4"))
        self.assertEqual(self.profile(), {"a.b": b"2", "a.c": b"3"})
        self.commit(DeleteProfileField(ALICE, "a.b"))
        self.assertEqual(self.profile(), {"a.c": b"3"})
        self.assertIsNone(self.read(lambda tx: ProfilesRepository().find_field(tx, ALICE, "a.b")))
        self.commit(ClearProfile(ALICE))
        self.assertEqual(self.profile(), {})
        self.assertEqual(self.read(lambda tx: ProfilesRepository().find_field(tx, BOB, "a.b")), b"4")

    def test_profile_is_bounded_as_a_whole(self) -> None:
        # {"a.b":<value>} has 8 bytes beside the value.
        self.commit(SetProfileField(ALICE, "a.b", b"x" * (64 * 1024 - 8)))
        self.failure(
            self.committer.commit(SetProfileField(ALICE, "a.b", b"x" * (64 * 1024 - 7))), ProfileTooLarge
        )
        self.failure(self.committer.commit(SetProfileField(ALICE, "a.c", b"1")), ProfileTooLarge)
        self.assertEqual(len(self.profile()), 1)

    # Registration tokens

    def usable(self, now_ms: int = 0) -> bool:
        row = self.read(lambda tx: RegistrationTokensRepository().find(tx, "token", now_ms))
        return row is not None and row.is_usable(now_ms)

    def test_uses_of_a_token_are_counted_exactly(self) -> None:
        self.commit(CreateRegistrationToken("token", 2, None))
        self.commit(ReserveRegistrationToken("token", "s1", 0, 100))
        self.commit(ReserveRegistrationToken("token", "s2", 0, 100))
        self.failure(self.committer.commit(ReserveRegistrationToken("token", "s3", 0, 100)), TokenUsedUp)
        self.commit(UseRegistrationToken("token", "s1"))
        self.failure(self.committer.commit(UseRegistrationToken("token", "s1")), TokenUsedUp)
        self.failure(self.committer.commit(ReserveRegistrationToken("token", "s3", 0, 100)), TokenUsedUp)
        row = self.read(lambda tx: RegistrationTokensRepository().find(tx, "token", 0))
        assert row is not None
        self.assertEqual((row.pending, row.completed), (1, 1))
        # The second was never finished: its use is free again, once.
        self.commit(ReserveRegistrationToken("token", "s3", 100, 200))
        self.failure(self.committer.commit(UseRegistrationToken("token", "s2")), TokenUsedUp)
        self.commit(UseRegistrationToken("token", "s3"))
        self.assertFalse(self.usable(1000))

    def test_last_use_goes_to_one_of_two_at_the_same_time(self) -> None:
        self.commit(CreateRegistrationToken("token", 1, None))
        self.failure(
            self.committer.commit(
                ReserveRegistrationToken("token", "s1", 0, 100),
                ReserveRegistrationToken("token", "s2", 0, 100),
            ),
            TokenUsedUp,
        )
        self.assertTrue(self.usable())

    def test_token_expires_and_can_be_changed_and_deleted(self) -> None:
        self.commit(CreateRegistrationToken("token", None, 50))
        self.failure(self.committer.commit(CreateRegistrationToken("token", None, None)), TokenExists)
        self.assertTrue(self.usable(49))
        self.assertFalse(self.usable(50))
        self.commit(UpdateRegistrationToken("token", 1, None))
        self.assertTrue(self.usable(50))
        rows = self.read(lambda tx: RegistrationTokensRepository().get_all(tx, 0))
        self.assertEqual(
            [(row.token, row.uses_allowed, row.expires_ms) for row in rows], [("token", 1, None)]
        )
        self.commit(DeleteRegistrationToken("token"))
        self.assertFalse(self.usable())

    # Login tokens

    def test_login_token_is_taken_once(self) -> None:
        self.commit(CreateLoginToken(b"1", ALICE, 0, 100), CreateLoginToken(b"2", BOB, 0, 100))
        self.assertEqual(self.commit(TakeLoginToken(b"1", 50), TakeLoginToken(b"1", 50)), (ALICE, None))
        self.assertEqual(self.commit(TakeLoginToken(b"2", 100), TakeLoginToken(b"3", 0)), (None, None))

    # Bans

    def fail_login(self, at_ms: int, user_id: str = ALICE, address: str = "1.2.3.4") -> bool:
        (banned,) = self.commit(RecordLoginFailure(address, user_id, at_ms, RULES))
        return bool(banned)

    def ban_end(self, address: str = "1.2.3.4") -> int | None:
        found = self.read(lambda tx: LoginBansRepository().find_ban_end_ms_and_failures(tx, address, ALICE))
        return found[0]

    def test_bans_grow(self) -> None:
        self.assertEqual([self.fail_login(0, user) for user in (ALICE, BOB, "")], [False, False, True])
        self.assertEqual(self.ban_end(), 100)
        self.assertEqual([self.fail_login(200) for _ in range(3)], [False, False, True])
        self.assertEqual(self.ban_end(), 1200)
        self.assertEqual([self.fail_login(2000) for _ in range(3)], [False, False, True])
        self.assertEqual(self.ban_end(), 3000)
        self.assertIsNone(self.ban_end("5.6.7.8"))

    def test_bans_and_failures_are_read_together(self) -> None:
        def both(user_id: str, address: str = "1.2.3.4") -> tuple[int | None, bool]:
            return self.read(
                lambda tx: LoginBansRepository().find_ban_end_ms_and_failures(tx, address, user_id)
            )

        self.assertEqual(both(ALICE), (None, False))
        self.fail_login(0)
        self.assertEqual(
            [both(ALICE), both(BOB), both(ALICE, "5.6.7.8")], [(None, True), *[(None, False)] * 2]
        )
        self.fail_login(0, BOB)
        self.fail_login(0, BOB)
        self.assertEqual(both(""), (100, False))

    def test_account_and_what_counts_against_an_address_are_read_together(self) -> None:
        def attempt(*user_ids: str, address: str = "1.2.3.4") -> tuple[str | None, int | None, bool]:
            found = self.result(
                self.database.ask(
                    lambda tx: LoginAttemptsRepository().get(tx, user_ids, address, user_ids[-1])
                )
            )
            user_id = None if found.account is None else found.account.user_id
            return user_id, found.banned_until_ms, found.is_counted

        self.commit(account(ALICE), account(BOB), SetAccountFlag(BOB, AccountFlag.LOCKED, True))
        old = "@Alice:one.example"
        # Of several who may be meant the first: a name in another spelling is another account.
        self.assertEqual(attempt(old, ALICE), (ALICE, None, False))
        self.commit(account(old))
        self.assertEqual(attempt(old, ALICE), (old, None, False))
        self.assertEqual(attempt("@nobody:one.example"), (None, None, False))
        self.fail_login(0, ALICE)
        self.assertEqual(attempt(old, ALICE), (old, None, True))
        self.assertEqual(
            [attempt(BOB), attempt(ALICE, address="5.6.7.8")], [(BOB, None, False), (ALICE, None, False)]
        )
        self.fail_login(0)
        self.fail_login(0)
        self.assertEqual(attempt(BOB), (BOB, 100, False))
        self.assertEqual(attempt("@nobody:one.example"), (None, 100, False))
        found = self.read(lambda tx: LoginAttemptsRepository().get(tx, (), "1.2.3.4", ""))
        self.assertEqual(found, LoginAttempt(None, 100, False))
        row = self.read(lambda tx: AccountsRepository().find(tx, BOB))
        self.assertEqual(self.read(lambda tx: LoginAttemptsRepository().get(tx, (BOB,), "", "")).account, row)

    def test_old_failures_and_old_bans_are_forgotten(self) -> None:
        self.fail_login(0)
        self.fail_login(0)
        self.assertFalse(self.fail_login(501))
        self.fail_login(501)
        self.assertTrue(self.fail_login(501))
        for _ in range(3):
            self.fail_login(10_000)
        self.assertEqual(self.ban_end(), 10_100)

    def test_right_password_forgets_the_failures_of_its_account(self) -> None:
        for user_id in (ALICE, ALICE):
            self.fail_login(0, user_id)
        self.commit(ForgetLoginFailures("1.2.3.4", BOB))
        self.commit(ForgetLoginFailures("5.6.7.8", ALICE))
        self.assertTrue(self.fail_login(0, BOB))
        self.fail_login(0)
        self.commit(ForgetLoginFailures("1.2.3.4", ALICE))
        self.assertEqual([self.fail_login(0) for _ in range(3)], [False, False, True])


class SqliteAccountsTests(SqliteStorage, AccountsTests, SynchronousTestCase):
    pass


class PostgresAccountsTests(PostgresStorage, AccountsTests, SynchronousTestCase):
    pass
