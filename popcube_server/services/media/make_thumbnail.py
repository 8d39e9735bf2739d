"""Makes thumbnails and keeps them: each once, few at a time."""

import logging
import tempfile
from typing import IO, cast

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from popcube_server.services.errors import NotFound, Refusal
from popcube_server.services.media.receive_content import KEY_BYTES
from popcube_server.services.media.shrink_picture import ShrinkPicture
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.media import AddThumbnail, ContentRecord, OriginalGone, ThumbnailKey, ThumbnailRow
from storage.media_store import MediaFileMissing, MediaStore, key_beside

logger = logging.getLogger(__name__)

CONCURRENT = 1
"""Of an organization's thumbnails. The threads for slow work are few, and have passwords to check too."""

MAX_THUMBNAIL_BYTES = 64 * 1024 * 1024

_JobKey = tuple[str, ThumbnailKey]
_Waiting = list["Deferred[ThumbnailRow]"]


class MakeThumbnail:
    """Requests for the same thumbnail share the work. What was begun is finished, even if all who asked have gone."""

    def __init__(
        self, platform: Platform, committer: Committer, store: MediaStore, shrink: ShrinkPicture
    ) -> None:
        self._platform = platform
        self._committer = committer
        self._store = store
        self._shrink = shrink
        self._turn = DeferredSemaphore(CONCURRENT)
        self._waiting: dict[_JobKey, _Waiting] = {}
        self._running: set[Deferred[None]] = set()

    def start(self) -> None:
        """Nothing is to be made before the first request."""

    async def stop(self) -> None:
        """Finish what was begun."""
        while self._running:
            await next(iter(self._running))

    async def make(self, content: ContentRecord, key: ThumbnailKey) -> ThumbnailRow:
        """Raises `NotFound`, `TooLarge`, or 400 for what is no picture."""
        job = content.file_key, key
        others = self._waiting.get(job)
        waiting = others if others is not None else []
        mine: Deferred[ThumbnailRow] = Deferred(waiting.remove)
        waiting.append(mine)
        if others is None:
            self._waiting[job] = waiting
            self._begin(job, content)
        return await mine

    def _begin(self, job: _JobKey, content: ContentRecord) -> None:
        work = Deferred.fromCoroutine(self._make_in_turn(job, content))
        done = work.addCallbacks(
            lambda row: self._succeed(job, row), lambda failure: self._fail(job, failure)
        )
        self._running.add(done)
        done.addBoth(lambda _: self._running.discard(done))

    def _succeed(self, job: _JobKey, row: ThumbnailRow) -> None:
        for waiting in self._waiting.pop(job)[:]:
            waiting.callback(row)

    def _fail(self, job: _JobKey, failure: Failure) -> None:
        left = self._waiting.pop(job)[:]
        if not left and not failure.check(Refusal):
            logger.error("A thumbnail failed that nobody waits for any more", exc_info=failure.value)
        for waiting in left:
            waiting.errback(failure)

    async def _make_in_turn(self, job: _JobKey, content: ContentRecord) -> ThumbnailRow:
        await self._turn.acquire()
        try:
            return await self._make(job, content)
        finally:
            self._turn.release()

    async def _make(self, job: _JobKey, content: ContentRecord) -> ThumbnailRow:
        original_key, key = job
        file_key = key_beside(original_key, self._platform.random_bytes(KEY_BYTES).hex())
        made = await self._platform.in_thread(lambda: self._shrink_and_store(content, key, file_key))
        try:
            committed = await self._committer.commit(AddThumbnail(original_key, made))
        except OriginalGone:
            await self._platform.in_thread(lambda: self._store.delete(file_key))
            raise NotFound("The picture has just been deleted.") from None
        row = cast(ThumbnailRow, committed.results[0])
        if row.file_key != made.file_key and made.file_key == file_key:
            # Another replica was quicker: its file is the thumbnail.
            await self._platform.in_thread(lambda: self._store.delete(file_key))
        return row

    def _shrink_and_store(self, content: ContentRecord, key: ThumbnailKey, file_key: str) -> ThumbnailRow:
        with self._open(content.file_key) as source, tempfile.TemporaryFile() as target:
            shrunk = self._shrink.shrink(source, key, target)
            if shrunk.is_original:
                return ThumbnailRow(key, shrunk.content_type, content.size_bytes, content.file_key)
            stored = self._store.put(file_key, target, MAX_THUMBNAIL_BYTES)
        return ThumbnailRow(key, shrunk.content_type, stored.size_bytes, file_key)

    def _open(self, file_key: str) -> IO[bytes]:
        try:
            return self._store.open(file_key)
        except MediaFileMissing:
            raise NotFound("The content of this media is missing on the server.") from None
