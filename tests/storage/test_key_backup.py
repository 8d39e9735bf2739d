"""Key backups: versions, the better key, counts."""

from twisted.trial.unittest import SynchronousTestCase

from storage.change import LogEntry
from storage.key_backup import (
    MAX_VERSIONS,
    BackupFull,
    BackupRow,
    BackupState,
    CreateBackup,
    DeleteBackup,
    DeleteSessionKeys,
    KeyBackupRepository,
    MergeSessionKey,
    NoSuchBackup,
    NotCurrentBackup,
    OtherAlgorithm,
    RoomSessionKey,
    SessionKey,
    SetBackupAuthData,
    StoreSessionKeys,
)
from tests.storage.keys_case import ALICE, BOB, KeysMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ROOM = "!room:one.example"
OTHER = "!oth\0er"
PLAIN = SessionKey(5, 2, False, b'{"plain":1}')


class KeyBackupTests(KeysMixin):
    def create(self, user_id: str = ALICE) -> object:
        return self.result(self.committer.commit(CreateBackup(user_id, "m.algorithm", b'{"k":1}'))).results[0]

    def store(self, *keys: tuple[str, str, SessionKey], version: int = 1, user_id: str = ALICE) -> object:
        change = StoreSessionKeys(user_id, version, tuple(RoomSessionKey(*key) for key in keys))
        return self.result(self.committer.commit(change)).results[0]

    def keys(self, version: int = 1, room_id: str | None = None, session_id: str | None = None) -> object:
        return self.read(lambda tx: KeyBackupRepository().get_keys(tx, ALICE, version, room_id, session_id))

    def find(self, version: int | None, user_id: str = ALICE) -> BackupRow | None:
        return self.read(lambda tx: KeyBackupRepository().find_backup(tx, user_id, version))

    def test_versions_count_up_for_each_user(self) -> None:
        self.assertIsNone(self.find(None))
        self.assertEqual([self.create(), self.create(), self.create(BOB)], [1, 2, 1])
        self.assertEqual(self.find(None), BackupRow(2, "m.algorithm", b'{"k":1}', 0, 0))
        self.assertEqual(self.find(1), BackupRow(1, "m.algorithm", b'{"k":1}', 0, 0))
        self.assertIsNone(self.find(2, BOB))

    def test_deleted_version_is_gone_with_its_keys_and_never_comes_again(self) -> None:
        self.create()
        self.create()
        self.store((ROOM, "s", PLAIN), version=2)
        for _ in range(2):
            self.result(self.committer.commit(DeleteBackup(ALICE, 2)))
        self.assertIsNone(self.find(2))
        self.assertEqual(self.find(None), self.find(1))
        self.assertEqual(self.count("key_backup_sessions"), 0)
        self.assertEqual(self.create(), 3)
        self.failure(self.committer.commit(DeleteBackup(ALICE, 9)), NoSuchBackup)
        self.failure(self.committer.commit(SetBackupAuthData(ALICE, 2, "m.algorithm", b"{}")), NoSuchBackup)

    def test_auth_data_changes_but_not_the_algorithm(self) -> None:
        self.create()
        self.result(self.committer.commit(SetBackupAuthData(ALICE, 1, "m.algorithm", b'{"k":2}')))
        self.failure(
            self.committer.commit(SetBackupAuthData(ALICE, 1, "m.other", b'{"k":3}')), OtherAlgorithm
        )
        self.assertEqual(self.find(1), BackupRow(1, "m.algorithm", b'{"k":2}', 0, 0))

    def test_only_the_newest_version_is_written(self) -> None:
        self.failure(self.committer.commit(StoreSessionKeys(ALICE, 1, ())), NoSuchBackup)
        self.create()
        self.create()
        error = self.failure(self.committer.commit(StoreSessionKeys(ALICE, 1, ())), NotCurrentBackup)
        assert isinstance(error, NotCurrentBackup)
        self.assertEqual(error.current, 2)

    def test_keys_are_read_by_version_room_and_session(self) -> None:
        self.create()
        self.assertEqual(
            self.store((ROOM, "s1", PLAIN), (ROOM, "s2", PLAIN), (OTHER, "s1", PLAIN)), BackupState(1, 3)
        )
        self.assertEqual(self.keys(), {ROOM: {"s1": PLAIN, "s2": PLAIN}, OTHER: {"s1": PLAIN}})
        self.assertEqual(self.keys(1, ROOM), {ROOM: {"s1": PLAIN, "s2": PLAIN}})
        self.assertEqual(self.keys(1, ROOM, "s2"), {ROOM: {"s2": PLAIN}})
        self.assertEqual(self.keys(1, ROOM, "s3"), {})
        self.assertEqual(self.keys(2), {})

    def test_log_does_not_keep_what_the_keys_are(self) -> None:
        self.create()
        for change in (
            StoreSessionKeys(ALICE, 1, (RoomSessionKey(ROOM, "s", PLAIN),)),
            MergeSessionKey(ALICE, 1, ROOM, "s", PLAIN),
        ):
            position = self.result(self.committer.commit(change)).position
            remembered = self.log.since(position - 1)
            self.assertEqual(remembered, [LogEntry(position, change.kind, change.key(), None)])

    def test_better_key_is_kept(self) -> None:
        self.create()
        self.store((ROOM, "s", PLAIN))
        worse = [
            SessionKey(6, 0, False, b"{}"),
            SessionKey(5, 3, False, b"{}"),
            SessionKey(5, 2, False, b"{}"),
        ]
        for key in worse:
            self.assertEqual(self.store((ROOM, "s", key)), BackupState(1, 1))
        better = [
            SessionKey(5, 1, False, b"{}"),
            SessionKey(4, 9, False, b"{}"),
            SessionKey(9, 9, True, b"{}"),
        ]
        for number, key in enumerate(better):
            self.assertEqual(self.store((ROOM, "s", key)), BackupState(2 + number, 1))
            self.assertEqual(self.keys(), {ROOM: {"s": key}})

    def test_deleting_keys_counts(self) -> None:
        self.create()
        self.store((ROOM, "s1", PLAIN), (ROOM, "s2", PLAIN), (ROOM, "s3", PLAIN), (OTHER, "s1", PLAIN))
        states = [
            self.result(self.committer.commit(change)).results[0]
            for change in (
                DeleteSessionKeys(ALICE, 1, ROOM, "s1"),
                DeleteSessionKeys(ALICE, 1, ROOM, "s1"),
                DeleteSessionKeys(ALICE, 1, ROOM),
                DeleteSessionKeys(ALICE, 1),
            )
        ]
        self.assertEqual(states, [BackupState(2, 3), BackupState(2, 3), BackupState(3, 1), BackupState(4, 0)])
        self.failure(self.committer.commit(DeleteSessionKeys(ALICE, 2)), NoSuchBackup)

    def test_many_keys_at_once(self) -> None:
        self.create()
        keys = [(f"!{number % 3}", f"s{number}", PLAIN) for number in range(3000)]
        self.assertEqual(self.store(*keys), BackupState(1, 3000))
        self.assertEqual(self.store(*keys), BackupState(1, 3000))

    def test_users_do_not_see_each_others_keys(self) -> None:
        self.create()
        self.create(BOB)
        self.store((ROOM, "s", PLAIN), user_id=BOB)
        self.assertEqual(self.keys(), {})

    def test_versions_are_bounded(self) -> None:
        for _ in range(MAX_VERSIONS):
            self.create()
        self.failure(self.committer.commit(CreateBackup(ALICE, "m.algorithm", b"{}")), BackupFull)
        self.result(self.committer.commit(DeleteBackup(ALICE, 1)))
        self.assertEqual(self.create(), MAX_VERSIONS + 1)


class SqliteKeyBackupTests(SqliteStorage, KeyBackupTests, SynchronousTestCase):
    pass


class PostgresKeyBackupTests(PostgresStorage, KeyBackupTests, SynchronousTestCase):
    pass
