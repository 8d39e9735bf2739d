"""Key backups on two sites."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.key_backup import (
    BackupRow,
    CreateBackup,
    DeleteBackup,
    DeleteSessionKeys,
    KeyBackupRepository,
    RoomSessionKey,
    SessionKey,
    SetBackupAuthData,
    StoreSessionKeys,
)
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
ROOM = "!room:one.example"


class KeyBackupRecordsTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        for site in (self.anna, self.berta):
            site.become(f"log of {site.name}")

    def create(self, site: StoredSite, auth_data: bytes = b"{}") -> int:
        version = site.commit(CreateBackup(ALICE, "algorithm", auth_data)).results[0]
        assert isinstance(version, int)
        return version

    def store(self, site: StoredSite, version: int, session: str, index: int, data: bytes = b"{}") -> None:
        key = RoomSessionKey(ROOM, session, SessionKey(index, 0, True, data))
        site.commit(StoreSessionKeys(ALICE, version, (key,)))

    def find(self, site: StoredSite, version: int | None = None) -> BackupRow | None:
        return site.read(lambda tx: KeyBackupRepository().find_backup(tx, ALICE, version))

    def indexes(self, site: StoredSite, version: int) -> dict[str, int]:
        rooms = site.read(lambda tx: KeyBackupRepository().get_keys(tx, ALICE, version))
        return {session: key.first_message_index for session, key in rooms.get(ROOM, {}).items()}

    def test_a_backup_is_on_both_sites_with_its_keys_and_their_count(self) -> None:
        version = self.create(self.anna)
        self.store(self.anna, version, "a", 1)
        self.store(self.anna, version, "b", 1)
        # Told after its keys: it changed later.
        self.anna.commit(SetBackupAuthData(ALICE, version, "algorithm", b'{"new":1}'))
        self.exchange(self.anna, self.berta)
        row = self.find(self.berta)
        assert row is not None
        self.assertEqual((row.version, row.auth_data, row.count), (version, b'{"new":1}', 2))
        self.store(self.berta, version, "c", 1)
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.indexes(self.anna, version), {"a": 1, "b": 1, "c": 1})
        row = self.find(self.anna)
        self.assertEqual(None if row is None else row.count, 3)

    def test_versions_made_in_a_cut_have_numbers_of_their_own_and_one_is_current(self) -> None:
        versions = [self.create(self.anna, b'{"a":1}'), self.create(self.berta, b'{"b":1}')]
        self.assertNotEqual(*versions)
        self.exchange(self.anna, self.berta)
        rows = [self.find(site) for site in (self.anna, self.berta)]
        self.assertEqual([None if row is None else row.version for row in rows], [max(versions)] * 2)
        self.assertGreater(self.create(self.anna), max(versions))

    def test_a_version_that_was_deleted_stays_so_whatever_was_written_into_it_meanwhile(self) -> None:
        version = self.create(self.anna)
        self.exchange(self.anna, self.berta)
        self.anna.commit(DeleteBackup(ALICE, version))
        self.berta.now_ms += 50
        self.berta.commit(SetBackupAuthData(ALICE, version, "algorithm", b'{"new":1}'))
        self.store(self.berta, version, "a", 1)
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertIsNone(self.find(site, version))
            self.assertEqual(self.indexes(site, version), {})

    def test_the_better_key_stays(self) -> None:
        version = self.create(self.anna)
        self.exchange(self.anna, self.berta)
        self.store(self.anna, version, "a", 3, b'{"better":1}')
        self.berta.now_ms += 50
        self.store(self.berta, version, "a", 7)
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.indexes(site, version) for site in (self.anna, self.berta)], [{"a": 3}] * 2)

    def test_keys_stored_and_deleted_in_any_order_end_the_same(self) -> None:
        for seed in range(20):
            self.check_random(random.Random(seed))

    def check_random(self, choice: random.Random) -> None:
        version = self.create(self.anna)
        sites = (self.anna, self.berta)
        self.exchange(*sites)
        for _ in range(30):
            site = choice.choice(sites)
            site.now_ms += choice.choice((0, 1, 3))
            act, session = choice.randrange(5), choice.choice("ab")
            if act < 2:
                self.store(site, version, session, choice.randrange(4), choice.choice((b"{}", b'{"x":1}')))
            elif act == 2:
                site.commit(DeleteSessionKeys(ALICE, version, ROOM, session))
            else:
                other = sites[1 - sites.index(site)]
                site.take_in(other.name, [placed.record for placed in other.export(site.name)])
        self.exchange(*sites)
        self.exchange(*sites)
        self.assertEqual(self.anna.all_values(), self.berta.all_values())  # type: ignore[attr-defined]
        rows = [self.find(site, version) for site in sites]
        counts = [None if row is None else row.count for row in rows]
        self.assertEqual(counts, [len(self.indexes(site, version)) for site in sites])


class SqliteKeyBackupRecordsTests(SqliteStorage, KeyBackupRecordsTests, SynchronousTestCase): ...


class PostgresKeyBackupRecordsTests(PostgresStorage, KeyBackupRecordsTests, SynchronousTestCase): ...
