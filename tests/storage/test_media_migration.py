"""Media and thumbnails of before the time when their use was written down."""

from twisted.trial.unittest import SynchronousTestCase

from storage.database import WriteTransaction
from storage.media import MediaRepository
from storage.media_use import MediaUseRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

LOGGED_MS = 5000


class MediaMigrationTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.migrate_from(self.go_back)

    def go_back(self, tx: WriteTransaction) -> None:
        """The tables as they were before."""
        for statement in (
            "DROP TABLE remote_media",
            "DROP INDEX media_by_use",
            "DROP INDEX media_by_file",
            "ALTER TABLE media DROP COLUMN used_ms",
            "ALTER TABLE thumbnails RENAME COLUMN original_key TO media_id",
            "DELETE FROM schema_changes WHERE number IN (130, 131)",
        ):
            tx.run(statement)
        owner = tx.intern_one("@alice:one.example")
        tx.run(
            "INSERT INTO log (position, kind, at_ms, entry_key) VALUES (?, ?, ?, ?)",
            (1, tx.intern_one("media"), LOGGED_MS, b"[]"),
        )
        tx.run(
            "INSERT INTO media (media_id, position, owner, created_ms, uploaded_ms, content_type, size_bytes, sha256,"
            " file_key, frozen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ("old", 1, owner, 10, 10, b"image/png", 5, b"", "a" * 32, 1),
        )
        tx.run(
            "INSERT INTO media (media_id, position, owner, created_ms, expires_ms, frozen) VALUES (?, ?, ?, ?, ?, ?)",
            ("pending", 1, owner, 10, 9999, 0),
        )
        for media_id in ("old", "gone", "pending"):
            tx.run(
                "INSERT INTO thumbnails (media_id, width, height, method, animated, content_type, size_bytes, file_key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (media_id, 32, 32, "crop", 0, "image/png", 5, "b" * 32),
            )

    def test_what_was_there_counts_as_used_at_the_time_of_the_change(self) -> None:
        uses = MediaUseRepository()
        self.assertEqual(self.read(lambda tx: uses.list_unused(tx, LOGGED_MS, 10)), [])
        self.assertEqual(self.read(lambda tx: uses.list_unused(tx, LOGGED_MS + 1, 10)), ["old"])

    def test_thumbnails_are_those_of_the_file(self) -> None:
        rows = self.read(lambda tx: MediaRepository().list_thumbnails(tx, "a" * 32))
        self.assertEqual([row.file_key for row in rows], ["b" * 32])
        self.assertEqual(self.read(lambda tx: tx.value("SELECT COUNT(*) FROM thumbnails")), 1)


class SqliteMediaMigrationTests(SqliteStorage, MediaMigrationTests, SynchronousTestCase):
    pass


class PostgresMediaMigrationTests(PostgresStorage, MediaMigrationTests, SynchronousTestCase):
    pass
