"""Records of other servers' media, when media were used last, and what goes when nobody uses them."""

from collections.abc import Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from storage.change import Change
from storage.media import (
    AddThumbnail,
    ContentRecord,
    MediaRepository,
    ReserveMedia,
    StoreMedia,
    ThumbnailKey,
    ThumbnailRow,
)
from storage.media_use import (
    DeleteUnusedMedia,
    DeleteUnusedRemoteMedia,
    ForgetRemoteFile,
    MediaUseRepository,
    NoteMediaUse,
    RemoteMediaId,
)
from storage.remote_media import RemoteMediaRepository, StoreRemoteMedia
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

FAR = "far.example"
NOW_MS = 1_000_000
THUMBNAIL = ThumbnailKey(32, 32, "crop", False)


def content(letter: str, prefix: str = "remote/", at_ms: int = NOW_MS) -> ContentRecord:
    return ContentRecord(at_ms, "text/plain", "a\0b \u00fc.txt", 100, b"\0" * 32, prefix + letter * 32, True)


class RemoteMediaTests(StorageMixin):
    remote = RemoteMediaRepository()
    uses = MediaUseRepository()

    def commit(self, *changes: Change) -> Sequence[object]:
        return self.result(self.committer.commit(*changes)).results

    def find(self, origin: str = FAR, media_id: str = "m1") -> ContentRecord | None:
        return self.read(lambda tx: self.remote.find(tx, origin, media_id))

    def unused(self, before_ms: int) -> list[str]:
        return self.read(lambda tx: self.uses.list_unused(tx, before_ms, 10))

    def unused_remote(self, before_ms: int) -> list[str]:
        found = self.read(lambda tx: self.uses.list_unused_remote(tx, before_ms, 10))
        return [media.media_id for media in found]

    def test_content_is_found_as_it_was_stored(self) -> None:
        for record in (content("a"), replace(content("b"), file_name=None, frozen=False)):
            self.commit(StoreRemoteMedia(FAR, record.file_key[-1], record))
            self.assertEqual(self.find(FAR, record.file_key[-1]), record)
        self.assertIsNone(self.find("other.example", "a"))
        self.assertIsNone(self.find(FAR, "c"))
        self.assertEqual(self.log.position, 0)

    def test_first_of_two_stays(self) -> None:
        changes = [StoreRemoteMedia(FAR, "m1", content(letter)) for letter in "ab"]
        self.assertEqual(self.commit(*changes), (content("a"), content("a")))
        self.assertEqual(self.commit(StoreRemoteMedia(FAR, "m1", content("c"))), (content("a"),))

    def test_use_is_noted_and_never_set_back(self) -> None:
        self.commit(
            StoreRemoteMedia(FAR, "r", content("a")), StoreMedia("m", "@a:one.example", content("b", ""), ())
        )
        self.assertEqual((self.unused(NOW_MS), self.unused_remote(NOW_MS)), ([], []))
        self.assertEqual((self.unused(NOW_MS + 1), self.unused_remote(NOW_MS + 1)), (["m"], ["r"]))
        for used_ms in (NOW_MS + 50, NOW_MS + 20):
            self.commit(
                NoteMediaUse("remote/" + "a" * 32, used_ms),
                NoteMediaUse("b" * 32, used_ms),
                NoteMediaUse("f" * 32, used_ms),
            )
        self.assertEqual((self.unused(NOW_MS + 50), self.unused_remote(NOW_MS + 50)), ([], []))
        self.assertEqual((self.unused(NOW_MS + 51), self.unused_remote(NOW_MS + 51)), (["m"], ["r"]))

    def test_longest_unused_comes_first_and_pending_uploads_never(self) -> None:
        self.commit(ReserveMedia("pending", "@a:one.example", 1, NOW_MS, 5))
        for letter, at_ms in (("a", 30), ("b", 10), ("c", 20)):
            self.commit(StoreMedia(letter, "@a:one.example", content(letter, "", at_ms), ()))
            self.commit(StoreRemoteMedia(FAR, letter, content(letter, at_ms=at_ms)))
        self.assertEqual(self.unused(NOW_MS), ["b", "c", "a"])
        self.assertEqual(self.unused_remote(NOW_MS), ["b", "c", "a"])

    def test_deleting_takes_thumbnails_along(self) -> None:
        own, far = "b" * 32, "remote/" + "a" * 32
        self.commit(
            StoreRemoteMedia(FAR, "r", content("a")), StoreMedia("m", "@a:one.example", content("b", ""), ())
        )
        self.commit(
            AddThumbnail(own, ThumbnailRow(THUMBNAIL, "image/png", 1, "c" * 32)),
            AddThumbnail(own, ThumbnailRow(replace(THUMBNAIL, width=9), "image/png", 1, own)),
            AddThumbnail(far, ThumbnailRow(THUMBNAIL, "image/png", 1, "remote/" + "d" * 32)),
        )
        media = RemoteMediaId(FAR, "r")
        self.assertEqual(
            self.commit(DeleteUnusedMedia("m", NOW_MS), DeleteUnusedRemoteMedia(media, NOW_MS)), ([], [])
        )
        self.assertIsNotNone(self.find(FAR, "r"))
        later_ms = NOW_MS + 1
        gone = self.commit(
            DeleteUnusedMedia("m", later_ms),
            DeleteUnusedMedia("m", later_ms),
            DeleteUnusedRemoteMedia(media, later_ms),
        )
        self.assertEqual(gone, ([own, "c" * 32], [], [far, "remote/" + "d" * 32]))
        self.assertIsNone(self.find(FAR, "r"))
        self.assertIsNone(self.read(lambda tx: MediaRepository().find(tx, "m")))
        self.assertEqual(self.read(lambda tx: MediaRepository().list_thumbnails(tx, own)), [])

    def test_lost_file_is_forgotten_and_a_new_one_is_not(self) -> None:
        self.commit(StoreRemoteMedia(FAR, "r", content("a")))
        self.assertEqual(self.commit(ForgetRemoteFile("remote/" + "b" * 32)), (["remote/" + "b" * 32],))
        self.assertIsNotNone(self.find(FAR, "r"))
        self.commit(ForgetRemoteFile("remote/" + "a" * 32))
        self.assertIsNone(self.find(FAR, "r"))


class SqliteRemoteMediaTests(SqliteStorage, RemoteMediaTests, SynchronousTestCase):
    pass


class PostgresRemoteMediaTests(PostgresStorage, RemoteMediaTests, SynchronousTestCase):
    pass
