"""What is kept for later: a newer version takes the place of the one before, however much is kept."""

from twisted.trial.unittest import SynchronousTestCase

from storage import held_back
from storage.held_back import HeldBackRepository, HoldRecord, NoRoomToHold
from storage.replication.record import Record, Version
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin


def version(clock: int, value: str = "x", key: str = "k") -> HoldRecord:
    return HoldRecord(Record("no.such", (key,), value, Version(clock, "anna")), "not known")


class HeldBackTests(StorageMixin):
    def held(self) -> list[tuple[int, str]]:
        records = self.read(lambda tx: HeldBackRepository().get_records(tx, ("no.such",), 0, 10))
        return [(record.version.clock, record.value) for record in records]

    def hold(self, *changes: HoldRecord) -> None:
        self.result(self.committer.commit(*changes))

    def refuse(self, *changes: HoldRecord) -> None:
        self.failure(self.committer.commit(*changes), NoRoomToHold)

    def test_latest_version_of_a_record_is_kept(self) -> None:
        self.hold(version(2, "two"))
        self.hold(version(1, "one"), version(3, "three"), version(2, "two"))
        self.assertEqual(self.held(), [(3, "three")])  # type: ignore[attr-defined]

    def test_newer_version_replaces_where_nothing_more_may_be_kept(self) -> None:
        self.hold(version(2))
        self.patch(held_back, "MAX_HELD", 1)  # type: ignore[attr-defined]
        self.hold(version(3, "longer"))
        self.hold(version(1, "what is over"))
        self.assertEqual(self.held(), [(3, "longer")])  # type: ignore[attr-defined]
        self.refuse(version(4), version(5, key="another"))
        self.assertEqual(self.held(), [(3, "longer")])  # type: ignore[attr-defined]

    def test_longer_version_does_not_replace_where_there_are_too_many_bytes(self) -> None:
        self.hold(version(2, "long"))
        self.patch(held_back, "MAX_HELD_BYTES", 3)  # type: ignore[attr-defined]
        self.refuse(version(3, "longer"))
        self.hold(version(1, "older and longer"))
        self.hold(version(3, "less"))
        self.assertEqual(self.held(), [(3, "less")])  # type: ignore[attr-defined]


class SqliteHeldBackTests(SqliteStorage, HeldBackTests, SynchronousTestCase): ...


class PostgresHeldBackTests(PostgresStorage, HeldBackTests, SynchronousTestCase): ...
