"""Records of media in memory: there when they are wanted, and gone when they are no longer true."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.media.known_contents import KnownContents
from storage.change import LogEntry
from storage.database import Transaction
from storage.media import ContentRecord, FillMedia, MediaRepository, MediaRow, ReserveMedia, StoreMedia
from storage.media_use import DeleteUnusedMedia
from storage.merge_media import MediaState, MergeMedia
from tests.storage.storage_case import SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
CONTENT = ContentRecord(1000, "text/plain", "a.txt", 100, b"\0" * 32, "0" * 32, True)
STORED = StoreMedia("m1", ALICE, CONTENT, ())


class KnownContentsTests(SqliteStorage, StorageMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.known = self.start()

    def start(self) -> KnownContents:
        return KnownContents(self.database, MediaRepository(), self.log)

    def test_upload_is_known_at_once(self) -> None:
        self.result(self.committer.commit(STORED))
        self.assertEqual(self.known.find("m1"), CONTENT)
        self.assertIsNone(self.known.find("m2"))

    def test_id_that_waits_for_its_content_is_not_known_and_then_it_is(self) -> None:
        self.result(self.committer.commit(ReserveMedia("m1", ALICE, 500, 5000, 1)))
        self.assertIsNotNone(self.result(self.known.read("m1")))
        self.assertIsNone(self.known.find("m1"))
        self.result(self.committer.commit(FillMedia("m1", ALICE, CONTENT, ())))
        self.assertEqual(self.known.find("m1"), CONTENT)

    def test_what_was_read_once_is_known(self) -> None:
        self.result(self.committer.commit(STORED))
        known = self.start()
        self.assertIsNone(known.find("m1"))
        row = self.result(known.read("m1"))
        assert row is not None
        self.assertEqual(row.content, CONTENT)
        self.assertEqual(known.find("m1"), CONTENT)
        self.assertIsNone(self.result(known.read("m2")))

    def test_deleted_media_are_forgotten(self) -> None:
        self.result(self.committer.commit(STORED))
        self.result(self.committer.commit(DeleteUnusedMedia("m1", 2000)))
        self.assertIsNone(self.known.find("m1"))
        self.assertIsNone(self.result(self.known.read("m1")))

    def test_content_that_another_site_has_of_the_same_id_takes_the_place_of_ours(self) -> None:
        self.result(self.committer.commit(STORED))
        theirs = replace(CONTENT, uploaded_ms=900, file_key="1" * 32)
        state = MediaState(ALICE, 900, None, theirs, 900)
        self.result(self.committer.commit(MergeMedia("m1", state)))
        self.assertIsNone(self.known.find("m1"))
        row = self.result(self.known.read("m1"))
        assert row is not None
        self.assertEqual(row.content, theirs)

    def test_what_changed_while_it_was_read_is_not_kept(self) -> None:
        self.result(self.committer.commit(STORED))
        log = self.log

        class Overtaken(MediaRepository):
            def find(self, tx: Transaction, media_id: str) -> MediaRow | None:
                row = super().find(tx, media_id)
                log.publish([LogEntry(log.position + 1, DeleteUnusedMedia.kind, (media_id,), None)])
                return row

        known = KnownContents(self.database, Overtaken(), self.log)
        self.assertIsNotNone(self.result(known.read("m1")))
        self.assertIsNone(known.find("m1"))
