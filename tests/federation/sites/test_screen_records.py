"""A record that cannot be written is found, and kept; those beside it are written."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from federation.sites.screen_records import ScreenRecords
from storage.account_data import NO_ROOM, AccountDataRepository, SetAccountData
from storage.committer import CommitFailed
from storage.engines.engine import Unavailable
from storage.held_back import HeldBackRepository
from storage.replication.record import Record, Version
from tests.storage.replication.sites_case import SitesMixin
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
SESSION = {
    "device_id": {"newer": "form"},
    "created_ms": 0,
    "generation": 0,
    "nonce": "n",
    "next_nonce": None,
    "ended_ms": None,
}
BAD = Record("session", (ALICE, "s"), SESSION, Version(1, "anna"))


class ScreenRecordsTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.anna.commit(SetAccountData(ALICE, NO_ROOM, "theme", b"{}"))
        self.records = [BAD, *(placed.record for placed in self.anna.export("berta"))]

    def screen(self, error: Exception) -> None:
        screen = ScreenRecords(self.berta.committer, self.berta.apply)
        self.successResultOf(Deferred.fromCoroutine(screen.screen("anna", self.records, error)))  # type: ignore[attr-defined]

    def failure_of(self, records: Sequence[Record]) -> Exception:
        """What comes of writing them together; then none of them is there."""
        try:
            self.berta.take_in("anna", records)
        except Exception as error:  # noqa: BLE001
            self.assertEqual(self.state(), (0, False))  # type: ignore[attr-defined]
            return error
        raise AssertionError("they were written")

    def state(self) -> tuple[int, bool]:
        """How many wait, and whether what is beside the bad one is here."""
        row = self.berta.read(lambda tx: AccountDataRepository().find(tx, ALICE, NO_ROOM, "theme"))
        return self.berta.read(HeldBackRepository().count).records, row is not None

    def test_the_batch_goes_in_without_it(self) -> None:
        # What it is called depends on the database.
        self.screen(self.failure_of(self.records))
        self.berta.take_in("anna", self.records)
        self.assertEqual(self.state(), (1, True))  # type: ignore[attr-defined]

    def test_when_the_database_was_at_fault_nothing_is_kept(self) -> None:
        failed = CommitFailed("away")
        failed.__cause__ = Unavailable("away")
        self.screen(failed)
        self.assertEqual(self.state(), (0, False))  # type: ignore[attr-defined]


class SqliteScreenRecordsTests(SqliteStorage, ScreenRecordsTests, SynchronousTestCase): ...


class PostgresScreenRecordsTests(PostgresStorage, ScreenRecordsTests, SynchronousTestCase): ...
