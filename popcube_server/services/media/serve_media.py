"""Gives our media to other servers, each its share."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from popcube_server.services.errors import LimitExceeded
from popcube_server.services.media.download_media import DownloadMedia, OpenedMedia
from popcube_server.services.media.get_thumbnail import GetThumbnail
from popcube_server.services.media.media_address import MediaRequest
from popcube_server.services.media.sent_file import SentFile
from popcube_server.services.media.thumbnail_sizes import WantedThumbnail
from popcube_server.services.rate_limits import RateLimiter
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import RateLimit

# Far more than a server with many users asks for.
RATE = RateLimit(per_second=50, burst_count=1000)
RETRY_AFTER_MS = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """What one server may have under way: requests, waiting ones too, and bytes of the answers to them."""

    requests: int
    size_bytes: int


DOWNLOADS = Share(50, 512 * 1024 * 1024)
# Thumbnails are made one at a time, for our own users as well.
THUMBNAILS = Share(10, 512 * 1024 * 1024)


class _UnderWay:
    """What is under way, by server. Empty for those that have nothing."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._requests: dict[str, int] = {}
        self._bytes: dict[str, int] = {}

    def begin(self, origin: str) -> None:
        """Raises `LimitExceeded`."""
        requests = self._requests.get(origin, 0)
        if requests >= self._share.requests:
            raise LimitExceeded("Too many requests for media at the same time.", RETRY_AFTER_MS)
        self._requests[origin] = requests + 1

    def send(self, origin: str, size_bytes: int) -> None:
        """Raises `LimitExceeded`. One answer is always allowed, however large."""
        sent = self._bytes.get(origin, 0)
        if sent and sent + size_bytes > self._share.size_bytes:
            raise LimitExceeded("Too many media at the same time.", RETRY_AFTER_MS)
        self._bytes[origin] = sent + size_bytes

    def end(self, origin: str, size_bytes: int) -> None:
        _take(self._requests, origin, 1)
        _take(self._bytes, origin, size_bytes)


def _take(counts: dict[str, int], key: str, amount: int) -> None:
    left = counts.get(key, 0) - amount
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)


class _Counted:
    """A file that tells when it is closed."""

    def __init__(self, file: SentFile, closed: Callable[[], None]) -> None:
        self._file = file
        self._when_closed: Callable[[], None] | None = closed
        self.read_now = file.read_now
        self.read = file.read

    def __del__(self) -> None:
        # Whoever was to send it may have been cancelled.
        self.close()

    def close(self) -> None:
        if self._when_closed is not None:
            self._file.close()
            self._when_closed()
            self._when_closed = None


class ServeMedia:
    """For requests that are known to come from `origin`. The file of an answer is to be closed: it is counted."""

    def __init__(self, download: DownloadMedia, thumbnail: GetThumbnail, now_s: Callable[[], float]) -> None:
        self._download = download
        self._thumbnail = thumbnail
        self._rate = RateLimiter(RATE, now_s)
        self._downloads = _UnderWay(DOWNLOADS)
        self._thumbnails = _UnderWay(THUMBNAILS)

    async def open_content(self, origin: str, request: MediaRequest) -> OpenedMedia:
        """Raises what `DownloadMedia` raises, or `LimitExceeded`."""
        return await self._open(origin, self._downloads, lambda: self._download.open(request))

    async def open_thumbnail(
        self, origin: str, request: MediaRequest, wanted: WantedThumbnail
    ) -> OpenedMedia:
        """Raises what `GetThumbnail` raises, or `LimitExceeded`."""
        return await self._open(origin, self._thumbnails, lambda: self._thumbnail.open(request, wanted))

    async def _open(
        self, origin: str, under_way: _UnderWay, work: Callable[[], Coroutine[Any, Any, OpenedMedia]]
    ) -> OpenedMedia:
        self._rate.spend(origin)
        under_way.begin(origin)
        try:
            opened = await work()
        except BaseException:
            under_way.end(origin, 0)
            raise
        size_bytes = opened.size_bytes
        try:
            under_way.send(origin, size_bytes)
        except LimitExceeded:
            opened.file.close()
            under_way.end(origin, 0)
            raise
        return replace(opened, file=_Counted(opened.file, lambda: under_way.end(origin, size_bytes)))
