"""What other servers may have under way."""

import gc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.errors import LimitExceeded, NotFound
from popcube_server.services.media.download_media import OpenedMedia
from popcube_server.services.media.media_address import MediaAddress, MediaRequest
from popcube_server.services.media.serve_media import DOWNLOADS, RATE, ServeMedia

REQUEST = MediaRequest(MediaAddress("one.example", "m"), 0, False)


class FakeFile:
    def __init__(self) -> None:
        self.closed = False

    def read_now(self, size_bytes: int) -> bytes | None:
        return b"data"[:size_bytes]

    async def read(self, size_bytes: int) -> bytes:
        return b"more"[:size_bytes]

    def close(self) -> None:
        self.closed = True


class FakeDownload:
    """Gives files that say that they are large."""

    def __init__(self) -> None:
        self.size_bytes = 1
        self.error: Exception | None = None
        self.files: list[FakeFile] = []

    async def open(self, request: MediaRequest) -> OpenedMedia:
        if self.error is not None:
            raise self.error
        self.files.append(FakeFile())
        return OpenedMedia(self.files[-1], self.size_bytes, "text/plain", None)


class ServeMediaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fake = FakeDownload()
        unused: Any = None
        download: Any = self.fake
        self.serve = ServeMedia(download, unused, self.clock.seconds)

    def begin(self, origin: str) -> "Deferred[OpenedMedia]":
        return Deferred.fromCoroutine(self.serve.open_content(origin, REQUEST))

    def open(self, origin: str = "two.example") -> OpenedMedia:
        return self.successResultOf(self.begin(origin))

    def assert_limited(self, origin: str = "two.example") -> None:
        self.failureResultOf(self.begin(origin), LimitExceeded)

    def test_file_is_read_and_closed_like_the_one_below(self) -> None:
        opened = self.open()
        self.assertEqual(opened.file.read_now(3), b"dat")
        read = self.successResultOf(Deferred.fromCoroutine(opened.file.read(3)))  # type: ignore[arg-type]
        self.assertEqual(read, b"mor")
        opened.file.close()
        self.assertTrue(self.fake.files[0].closed)

    def test_answers_under_way_are_limited_by_origin(self) -> None:
        opened = [self.open() for _ in range(DOWNLOADS.requests)]
        self.assert_limited()
        self.open("three.example")
        opened[0].file.close()
        opened[0].file.close()
        # Kept: a file that nobody has any more is closed.
        opened.append(self.open())
        self.assert_limited()

    def test_file_that_nobody_has_any_more_is_closed_and_holds_no_place(self) -> None:
        for _ in range(DOWNLOADS.requests + 1):
            self.open()
        gc.collect()
        self.assertTrue(all(file.closed for file in self.fake.files))

    def test_bytes_under_way_are_limited_by_origin(self) -> None:
        self.fake.size_bytes = DOWNLOADS.size_bytes // 2 + 1
        first = self.open()
        self.assert_limited()
        self.assertTrue(self.fake.files[-1].closed)
        self.open("three.example")
        first.file.close()
        # One answer is allowed, however large.
        self.fake.size_bytes = DOWNLOADS.size_bytes + 1
        self.open()

    def test_refusals_hold_no_place(self) -> None:
        self.fake.error = NotFound("no")
        for _ in range(DOWNLOADS.requests + 1):
            self.failureResultOf(self.begin("two.example"), NotFound)
        self.fake.error = None
        self.open()

    def test_requests_are_limited_by_time(self) -> None:
        for _ in range(int(RATE.burst_count)):
            self.open().file.close()
        self.assert_limited()
        self.open("three.example")
        self.clock.advance(1)
        for _ in range(int(RATE.per_second)):
            self.open().file.close()
        self.assert_limited()
