"""A copy of a database is the database, on whichever engine it is loaded."""

import gzip
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.accounts import AccountsRepository, CreateAccount
from storage.copying import InvalidCopy, LoadCopy, WriteCopy, is_empty
from storage.engines.engine import Engine
from storage.engines.sqlite import SqliteEngine
from storage.push_rules import SetPushRules
from tests.storage.replication.sites_case import StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"


class CopyTests:
    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.source = self.given_site("anna", self.make_engine())
        self.source.commit(
            CreateAccount(ALICE, "hash", 5, False, True, None),
            SetAccountData(ALICE, NO_ROOM, "theme", '{"name":"schön"}'.encode()),
            SetPushRules(ALICE, b"{}", 0),
        )
        self.path = Path(self.mktemp())  # type: ignore[attr-defined]
        self.progress: list[tuple[int, int]] = []

    def given_site(self, name: str, engine: Engine) -> StoredSite:
        site = StoredSite(name, engine)
        self.addCleanup(site.database.close)  # type: ignore[attr-defined]
        return site

    def make_engine(self) -> Engine:
        raise TypeError("mix in SqliteStorage or PostgresStorage")

    def write(self, skipped: frozenset[str] = frozenset()) -> None:
        header = WriteCopy(self.source.engine, skipped).write(self.path, lambda done, rows: None)
        self.assertEqual(header.position, self.source.log.position)  # type: ignore[attr-defined]

    def load(self, site: StoredSite) -> None:
        LoadCopy(site.engine, site.database).load(
            self.path, lambda done, rows: self.progress.append((done, rows))
        )

    def test_everything_is_in_the_copy(self) -> None:
        self.write()
        for engine in (self.make_engine(), SqliteEngine(Path(self.mktemp()), readers=1)):  # type: ignore[attr-defined]
            target = self.given_site("berta", engine)
            self.load(target)
            row = target.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, "theme"))
            self.assertEqual(  # type: ignore[attr-defined]
                None if row is None else row.content, '{"name":"schön"}'.encode()
            )
            self.assertEqual(  # type: ignore[attr-defined]
                target.read(lambda tx: AccountsRepository().find(tx, ALICE)),
                self.source.read(lambda tx: AccountsRepository().find(tx, ALICE)),
            )
            done, rows = self.progress[-1]
            self.assertEqual(done, rows)  # type: ignore[attr-defined]

    def test_what_was_in_the_target_is_gone_and_loading_again_is_the_same(self) -> None:
        self.write()
        target = self.given_site("berta", self.make_engine())
        target.commit(CreateAccount("@bob:one.example", "hash", 5, False, False, None))
        for _ in range(2):
            self.load(target)
            self.assertIsNone(  # type: ignore[attr-defined]
                target.read(lambda tx: AccountsRepository().find(tx, "@bob:one.example"))
            )

    def test_tables_may_be_left_out(self) -> None:
        self.write(frozenset(("accounts",)))
        target = self.given_site("berta", self.make_engine())
        self.load(target)
        self.assertIsNone(target.read(lambda tx: AccountsRepository().find(tx, ALICE)))  # type: ignore[attr-defined]

    def test_the_copy_is_of_one_moment(self) -> None:
        during: list[int] = []

        def write_meanwhile(done: int, rows: int) -> None:
            if not during:
                during.append(done)
                self.source.commit(SetAccountData(ALICE, NO_ROOM, "later", b"{}"))

        position = self.source.log.position
        header = WriteCopy(self.source.engine, frozenset()).write(self.path, write_meanwhile)
        self.assertEqual(header.position, position)  # type: ignore[attr-defined]
        target = self.given_site("berta", self.make_engine())
        self.load(target)
        self.assertIsNone(  # type: ignore[attr-defined]
            target.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, "later"))
        )

    def test_what_is_no_copy_is_refused_and_nothing_changed(self) -> None:
        target = self.given_site("berta", self.make_engine())
        target.commit(CreateAccount(ALICE, "hash", 5, False, False, None))
        for content in (b"", b"x", b'{"format":99,"schema":[],"position":1,"rows":1}\n'):
            self.path.write_bytes(gzip.compress(content))
            with self.assertRaises(InvalidCopy):  # type: ignore[attr-defined]
                self.load(target)
        self.path.write_bytes(gzip.compress(b'{"format":1,"schema":[1],"position":1,"rows":1}\n'))
        with self.assertRaises(InvalidCopy):  # type: ignore[attr-defined]
            self.load(target)
        self.assertFalse(target.read(is_empty))  # type: ignore[attr-defined]
        self.assertIsNotNone(target.read(lambda tx: AccountsRepository().find(tx, ALICE)))  # type: ignore[attr-defined]


class SqliteCopyTests(SqliteStorage, CopyTests, SynchronousTestCase): ...


class PostgresCopyTests(PostgresStorage, CopyTests, SynchronousTestCase): ...
