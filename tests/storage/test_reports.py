"""Reports are kept as they were made, and given newest first."""

from twisted.trial.unittest import SynchronousTestCase

from storage.reports import MakeReport, ReportKind, ReportsRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin


class ReportsTests(StorageMixin):
    def test_newest_are_given_first_with_all_that_was_said(self) -> None:
        event = MakeReport(ReportKind.EVENT, 5, "@a:x", "!r:x", "$e", "@b:x", "bad\0words", -50)
        room = MakeReport(ReportKind.ROOM, 6, "@a:x", "!r:x", None, None, None, None)
        self.result(self.committer.commit(event, room))
        newer, older = self.read(lambda tx: ReportsRepository().get_before(tx, 2**62, 10))
        self.assertEqual((newer.about, newer.room_id, newer.reason), (ReportKind.ROOM, "!r:x", None))
        self.assertEqual((older.event_id, older.user_id, older.reason), ("$e", "@b:x", "bad\0words"))
        self.assertEqual((older.reporter, older.made_ms, older.score), ("@a:x", 5, -50))
        rest = self.read(lambda tx: ReportsRepository().get_before(tx, newer.number, 10))
        self.assertEqual(rest, [older])


class SqliteReportsTests(SqliteStorage, ReportsTests, SynchronousTestCase): ...


class PostgresReportsTests(PostgresStorage, ReportsTests, SynchronousTestCase): ...
