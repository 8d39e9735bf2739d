"""Records of media: reservations, content, quotas, thumbnails."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from storage.log import LogRepository
from storage.media import (
    AddThumbnail,
    ContentRecord,
    FillMedia,
    MediaRepository,
    NotPending,
    OriginalGone,
    QuotaExceeded,
    ReserveMedia,
    StoreMedia,
    ThumbnailKey,
    ThumbnailRow,
    TooManyPending,
    UploadLimit,
)
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
NOW_MS = 1_000_000
HOUR_MS = 3_600_000
CONTENT = ContentRecord(NOW_MS, "text/plain", "a\0b ü.txt", 100, b"\0" * 32, "0" * 32, True)


def reserve(media_id: str, owner: str = ALICE, now_ms: int = NOW_MS, max_pending: int = 2) -> ReserveMedia:
    return ReserveMedia(media_id, owner, now_ms, now_ms + HOUR_MS, max_pending)


class MediaTests(StorageMixin):
    media = MediaRepository()

    def test_content_is_found_as_it_was_stored(self) -> None:
        position = self.result(self.committer.commit(StoreMedia("m1", ALICE, CONTENT, ()))).position
        row = self.read(lambda tx: self.media.find(tx, "m1"))
        assert row is not None
        self.assertEqual((row.owner, row.content, row.position), (ALICE, CONTENT, position))
        self.assertFalse(row.is_expired(NOW_MS * 1000))
        self.assertIsNone(self.read(lambda tx: self.media.find(tx, "m2")))

    def test_content_without_a_file_name_is_found(self) -> None:
        content = replace(CONTENT, file_name=None, frozen=False)
        self.result(self.committer.commit(StoreMedia("m1", ALICE, content, ())))
        row = self.read(lambda tx: self.media.find(tx, "m1"))
        assert row is not None
        self.assertEqual(row.content, content)

    def test_reserved_id_waits_until_it_is_filled(self) -> None:
        self.result(self.committer.commit(reserve("m1")))
        row = self.read(lambda tx: self.media.find(tx, "m1"))
        assert row is not None
        self.assertIsNone(row.content)
        self.assertFalse(row.is_expired(NOW_MS + HOUR_MS - 1))
        self.assertTrue(row.is_expired(NOW_MS + HOUR_MS))
        self.result(self.committer.commit(FillMedia("m1", ALICE, CONTENT, ())))
        row = self.read(lambda tx: self.media.find(tx, "m1"))
        assert row is not None
        self.assertEqual((row.content, row.position), (CONTENT, 2))
        self.assertFalse(row.is_expired(NOW_MS + HOUR_MS))

    def test_each_change_is_in_the_log(self) -> None:
        self.result(self.committer.commit(reserve("m1")))
        self.result(self.committer.commit(FillMedia("m1", ALICE, CONTENT, ())))
        entries = self.read(lambda tx: LogRepository().read_after(tx, 0, 10))
        self.assertEqual([(entry.kind, entry.key) for entry in entries], [("media", ("m1",))] * 2)

    def test_only_its_owner_fills_an_id_once_and_in_time(self) -> None:
        self.result(self.committer.commit(reserve("m1")))
        self.failure(self.committer.commit(FillMedia("m1", BOB, CONTENT, ())), NotPending)
        late = replace(CONTENT, uploaded_ms=NOW_MS + HOUR_MS)
        self.failure(self.committer.commit(FillMedia("m1", ALICE, late, ())), NotPending)
        self.failure(self.committer.commit(FillMedia("m2", ALICE, CONTENT, ())), NotPending)
        self.result(self.committer.commit(FillMedia("m1", ALICE, CONTENT, ())))
        self.failure(self.committer.commit(FillMedia("m1", ALICE, CONTENT, ())), NotPending)

    def test_two_fills_in_one_commit_cannot_both_be_written(self) -> None:
        self.result(self.committer.commit(reserve("m1")))
        twice = FillMedia("m1", ALICE, CONTENT, ()), FillMedia("m1", ALICE, CONTENT, ())
        self.failure(self.committer.commit(*twice), NotPending)
        row = self.read(lambda tx: self.media.find(tx, "m1"))
        assert row is not None
        self.assertIsNone(row.content)

    def test_pending_ids_are_limited_per_user(self) -> None:
        self.result(self.committer.commit(reserve("m1")))
        self.result(self.committer.commit(reserve("m2", now_ms=NOW_MS + 5)))
        error = self.failure(self.committer.commit(reserve("m3", now_ms=NOW_MS + 9)), TooManyPending)
        assert isinstance(error, TooManyPending)
        self.assertEqual(error.next_expiry_ms, NOW_MS + HOUR_MS)
        self.result(self.committer.commit(reserve("m4", BOB)))
        self.result(self.committer.commit(FillMedia("m1", ALICE, CONTENT, ())))
        self.result(self.committer.commit(reserve("m5")))

    def test_expired_ids_make_room_and_are_forgotten(self) -> None:
        self.result(self.committer.commit(reserve("m1"), reserve("m2")))
        self.result(self.committer.commit(reserve("m3", now_ms=NOW_MS + HOUR_MS)))
        self.assertIsNone(self.read(lambda tx: self.media.find(tx, "m1")))

    def test_quota_counts_what_was_uploaded_within_the_period(self) -> None:
        limits = (UploadLimit(HOUR_MS, 250),)
        self.result(self.committer.commit(StoreMedia("m1", ALICE, CONTENT, limits)))
        self.result(self.committer.commit(StoreMedia("m2", ALICE, CONTENT, limits)))
        self.failure(self.committer.commit(StoreMedia("m3", ALICE, CONTENT, limits)), QuotaExceeded)
        self.result(self.committer.commit(reserve("m4")))
        self.failure(self.committer.commit(FillMedia("m4", ALICE, CONTENT, limits)), QuotaExceeded)
        self.result(self.committer.commit(StoreMedia("m5", ALICE, replace(CONTENT, size_bytes=50), limits)))
        self.result(self.committer.commit(StoreMedia("m6", BOB, CONTENT, limits)))
        later = replace(CONTENT, uploaded_ms=NOW_MS + HOUR_MS)
        self.result(self.committer.commit(StoreMedia("m7", ALICE, later, limits)))

    def test_quota_can_be_asked_before_an_upload(self) -> None:
        limits = (UploadLimit(HOUR_MS, 150),)
        self.result(self.committer.commit(StoreMedia("m1", ALICE, CONTENT, ())))
        self.read(lambda tx: self.media.check_quota(tx, ALICE, NOW_MS, 50, limits))
        self.read(lambda tx: self.media.check_quota(tx, "@new:one.example", NOW_MS, 150, limits))
        with self.assertRaises(QuotaExceeded):  # type: ignore[attr-defined]
            self.read(lambda tx: self.media.check_quota(tx, ALICE, NOW_MS, 51, limits))

    def store(self, media_id: str, file_key: str) -> None:
        content = replace(CONTENT, file_key=file_key)
        self.result(self.committer.commit(StoreMedia(media_id, ALICE, content, ())))

    def test_first_thumbnail_of_a_key_stays(self) -> None:
        self.store("m1", "a" * 32)
        self.store("m2", "b" * 32)
        key = ThumbnailKey(32, 32, "crop", True)
        first = ThumbnailRow(key, "image/webp", 10, "1" * 32)
        second = ThumbnailRow(key, "image/webp", 20, "2" * 32)
        other = ThumbnailRow(replace(key, animated=False), "image/png", 5, "3" * 32)
        position = self.log.position
        committed = self.result(
            self.committer.commit(AddThumbnail("a" * 32, first), AddThumbnail("a" * 32, second))
        )
        self.assertEqual(committed.results, (first, first))
        self.result(self.committer.commit(AddThumbnail("a" * 32, other), AddThumbnail("b" * 32, first)))
        self.assertEqual(self.read(lambda tx: self.media.list_thumbnails(tx, "a" * 32)), [other, first])
        self.assertEqual(self.log.position, position)

    def test_thumbnail_of_what_is_gone_is_refused(self) -> None:
        row = ThumbnailRow(ThumbnailKey(32, 32, "crop", True), "image/webp", 10, "1" * 32)
        for original_key in ("a" * 32, "remote/" + "a" * 32):
            self.failure(self.committer.commit(AddThumbnail(original_key, row)), OriginalGone)


class SqliteMediaTests(SqliteStorage, MediaTests, SynchronousTestCase):
    pass


class PostgresMediaTests(PostgresStorage, MediaTests, SynchronousTestCase):
    pass
