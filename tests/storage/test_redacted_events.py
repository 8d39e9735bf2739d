"""Redacted events are found in the order of their redactions, and pruned."""

from twisted.trial.unittest import SynchronousTestCase

from storage.redacted_events import PruneEvent, RedactedEventsRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

# The clock of the base stands still here.
NOW_MS = 1_000_000
ROOM = 1


class RedactedEventsTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.database.write_now(
            lambda tx: tx.run("INSERT INTO rooms (room, version, heads_at) VALUES (?, ?, ?)", (ROOM, "12", 0))
        )

    def given_event(self, nid: int, redacted_by: int | None) -> None:
        row = (nid, f"${nid}", ROOM, nid, 2, 3, 0, 0, redacted_by, b"{}")
        sql = (
            "INSERT INTO events (nid, event_id, room, ordering, type, sender, flags, push, redacted_by, json)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self.database.write_now(lambda tx: tx.run(sql, row))

    def given_log_entry(self, position: int, at_ms: int) -> None:
        sql = "INSERT INTO log (position, kind, at_ms, entry_key) VALUES (?, ?, ?, ?)"
        self.database.write_now(lambda tx: tx.run(sql, (position, 1, at_ms, b"[]")))

    def unpruned(self, before_ms: int = NOW_MS, limit: int = 10) -> list[int]:
        rows = self.read(lambda tx: RedactedEventsRepository().get_unpruned(tx, before_ms, limit))
        return [row.nid for row in rows]

    def test_old_enough_ones_are_given_in_the_order_of_redaction(self) -> None:
        self.given_event(1, 13)
        self.given_event(2, None)
        self.given_event(3, 12)
        self.given_event(4, 14)
        for position in (12, 13, 14):
            self.given_log_entry(position, position * 1000)
        self.assertEqual(self.unpruned(), [3, 1, 4])
        self.assertEqual(self.unpruned(limit=2), [3, 1])
        self.assertEqual(self.unpruned(before_ms=13_001), [3, 1])
        self.assertEqual(self.unpruned(before_ms=13_000), [3])
        self.assertEqual(self.unpruned(before_ms=0), [])

    def test_redaction_before_the_beginning_of_the_log_is_old(self) -> None:
        self.given_event(1, 13)
        self.assertEqual(self.unpruned(before_ms=0), [1])

    def test_pruned_event_is_not_given_again_and_takes_no_place_in_the_log(self) -> None:
        self.given_event(1, 13)
        self.given_event(2, 13)
        self.result(self.committer.commit(PruneEvent(1, b'{"pruned":1}')))
        self.assertEqual((self.unpruned(), self.log.position), ([2], 0))
        json = self.read(lambda tx: tx.value("SELECT json FROM events WHERE nid = ?", (1,)))
        self.assertEqual(bytes(json), b'{"pruned":1}')


class SqliteRedactedEventsTests(SqliteStorage, RedactedEventsTests, SynchronousTestCase):
    """On SQLite."""


class PostgresRedactedEventsTests(PostgresStorage, RedactedEventsTests, SynchronousTestCase):
    """On PostgreSQL."""
