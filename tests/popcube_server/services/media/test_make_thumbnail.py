"""Making thumbnails: once for all who ask, one at a time, to the end."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.errors import NotFound, WithCode
from popcube_server.services.media.make_thumbnail import MakeThumbnail
from popcube_server.services.media.shrink_picture import Shrunk
from popcube_server.services.platform import Platform
from storage.committer import CommitFailed, Committed
from storage.media import (
    AddThumbnail,
    ContentRecord,
    MediaRepository,
    StoreMedia,
    ThumbnailKey,
    ThumbnailRow,
)
from storage.media_files import LocalMediaFiles
from storage.media_use import DeleteUnusedMedia
from tests.storage.storage_case import SqliteStorage, StorageMixin

T = TypeVar("T")

ORIGINAL_KEY = "a" * 32
CONTENT = ContentRecord(1, "image/png", None, 8, b"", ORIGINAL_KEY, True)
SMALL = ThumbnailKey(32, 32, "crop", False)
LARGE = ThumbnailKey(800, 600, "scale", False)


class FakeShrink:
    """Writes the size that is asked for."""

    def __init__(self) -> None:
        self.calls: list[ThumbnailKey] = []
        self.error: Exception | None = None
        self.is_original = False

    def shrink(self, source: IO[bytes], wanted: ThumbnailKey, target: IO[bytes]) -> Shrunk:
        self.calls.append(wanted)
        if self.error is not None:
            raise self.error
        target.write(f"answer\n{wanted.width}".encode())
        target.seek(7)
        return Shrunk("image/png", self.is_original)


class HeldThreads:
    """A thread runner whose work waits until the test lets it run."""

    def __init__(self) -> None:
        self.held: list[Callable[[], object]] = []

    def __call__(self, function: Callable[[], T]) -> "Deferred[T]":
        done: Deferred[T] = Deferred()

        self.held.append(lambda: execute(function).chainDeferred(done))
        return done

    def run_next(self) -> None:
        self.held.pop(0)()


class MakeThumbnailTests(SqliteStorage, StorageMixin, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.store = LocalMediaFiles(self.folder)
        self.store.prepare()
        self.store.put(ORIGINAL_KEY, BytesIO(b"original"), 8)
        self.result(self.committer.commit(StoreMedia("m1", "@alice:one.example", CONTENT, ())))
        self.shrink = FakeShrink()
        self.threads = HeldThreads()
        self.keys = iter(bytes([number]) * 16 for number in range(1, 10))
        self.maker = self.make_maker(self.committer)

    def make_maker(self, committer: Any) -> MakeThumbnail:
        platform = Platform(Clock(), lambda size: next(self.keys), self.threads)
        return MakeThumbnail(platform, committer, self.store, self.shrink)

    def begin(self, key: ThumbnailKey) -> "Deferred[ThumbnailRow]":
        return Deferred.fromCoroutine(self.maker.make(CONTENT, key))

    def files(self) -> list[str]:
        return sorted(path.read_bytes().decode() for path in self.folder.rglob("*") if path.is_file())

    def test_thumbnail_is_stored_with_its_row(self) -> None:
        making = self.begin(SMALL)
        self.threads.run_next()
        row = self.successResultOf(making)
        self.assertEqual(row, ThumbnailRow(SMALL, "image/png", 2, "01" * 16))
        self.assertEqual(self.read(lambda tx: MediaRepository().list_thumbnails(tx, ORIGINAL_KEY)), [row])
        self.assertEqual(self.files(), ["32", "original"])

    def test_all_who_ask_meanwhile_get_the_same(self) -> None:
        first, second = self.begin(SMALL), self.begin(SMALL)
        self.threads.run_next()
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(self.shrink.calls, [SMALL])

    def test_one_is_made_at_a_time(self) -> None:
        first, second = self.begin(SMALL), self.begin(LARGE)
        self.assertEqual(len(self.threads.held), 1)
        self.threads.run_next()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.threads.run_next()
        self.assertEqual(self.successResultOf(second).key, LARGE)

    def test_thumbnail_is_finished_though_who_asked_has_gone(self) -> None:
        gone = self.begin(SMALL)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        late = self.begin(SMALL)
        self.threads.run_next()
        self.successResultOf(late)
        self.assertEqual(self.shrink.calls, [SMALL])

    def test_thumbnail_is_kept_though_nobody_waits_for_it(self) -> None:
        gone = self.begin(SMALL)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.threads.run_next()
        self.assertEqual(len(self.read(lambda tx: MediaRepository().list_thumbnails(tx, ORIGINAL_KEY))), 1)

    def test_refusal_reaches_all_and_the_next_request_tries_again(self) -> None:
        self.shrink.error = WithCode(400, "M_UNKNOWN", "no picture")
        first, second = self.begin(SMALL), self.begin(SMALL)
        self.threads.run_next()
        self.failureResultOf(first, WithCode)
        self.failureResultOf(second, WithCode)
        self.assertEqual(self.files(), ["original"])
        self.shrink.error = None
        again = self.begin(SMALL)
        self.threads.run_next()
        self.successResultOf(again)

    def test_failure_that_nobody_waits_for_is_logged(self) -> None:
        self.shrink.error = OSError("disk full")
        gone = self.begin(SMALL)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        with self.assertLogs("popcube_server.services.media.make_thumbnail", "ERROR"):
            self.threads.run_next()

    def test_original_that_is_small_enough_is_not_copied(self) -> None:
        self.shrink.is_original = True
        making = self.begin(SMALL)
        self.threads.run_next()
        self.assertEqual(self.successResultOf(making).file_key, ORIGINAL_KEY)
        self.assertEqual(self.files(), ["original"])

    def test_file_is_deleted_where_another_replica_was_quicker(self) -> None:
        other = ThumbnailRow(SMALL, "image/png", 2, "f" * 32)
        self.result(self.committer.commit(AddThumbnail(ORIGINAL_KEY, other)))
        making = self.begin(SMALL)
        self.threads.run_next()
        self.threads.run_next()
        self.assertEqual(self.successResultOf(making), other)
        self.assertEqual(self.files(), ["original"])

    def test_lost_original_is_not_found(self) -> None:
        self.store.delete(ORIGINAL_KEY)
        making = self.begin(SMALL)
        self.threads.run_next()
        self.failureResultOf(making, NotFound)

    def test_thumbnail_of_a_picture_deleted_meanwhile_is_not_kept(self) -> None:
        making = self.begin(SMALL)
        self.result(self.committer.commit(DeleteUnusedMedia("m1", CONTENT.uploaded_ms + 1)))
        self.threads.run_next()
        self.threads.run_next()
        self.failureResultOf(making, NotFound)
        self.assertEqual(self.files(), ["original"])

    def test_failed_commit_reaches_who_asked(self) -> None:
        class Failing:
            async def commit(self, change: AddThumbnail) -> Committed:
                raise CommitFailed("disk full")

        self.maker = self.make_maker(Failing())
        making = self.begin(SMALL)
        self.threads.run_next()
        self.failureResultOf(making, CommitFailed)

    def test_stop_waits_for_what_was_begun(self) -> None:
        making = self.begin(SMALL)
        stopping = Deferred.fromCoroutine(self.maker.stop())
        self.assertNoResult(stopping)
        self.threads.run_next()
        self.successResultOf(stopping)
        self.successResultOf(making)
