"""What was uploaded or asked for lately, in memory: everybody in a room asks for the same picture."""

from collections.abc import Sequence

from popcube_server.services.bounded_cache import BoundedCache
from storage.change import LogEntry
from storage.database import Database
from storage.log import Log
from storage.media import ContentRecord, FillMedia, MediaRepository, MediaRow, StoreMedia

CACHE_SIZE = 2_000
_KIND = StoreMedia.kind
"""Every change of own media has it, on this site or another, and begins its key with the media ID."""


class KnownContents:
    """Records of our own media, true by following the log."""

    def __init__(self, database: Database, media: MediaRepository, log: Log) -> None:
        self._database = database
        self._media = media
        self._log = log
        self.contents: BoundedCache[str, ContentRecord] = BoundedCache(CACHE_SIZE)
        """By media ID."""
        log.follow(self._follow)

    def find(self, media_id: str) -> ContentRecord | None:
        """The content, if it is in memory."""
        return self.contents.get(media_id)

    async def read(self, media_id: str) -> MediaRow | None:
        """What the database has, which is kept in memory if it has content."""
        position = self._log.position
        row = await self._database.read(lambda tx: self._media.find(tx, media_id))
        # What changed while we read may or may not be in it: not to be kept.
        if row is not None and row.content is not None and self._log.position == position:
            self.contents.put(media_id, row.content)
        return row

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind != _KIND:
                continue
            if isinstance(entry.change, StoreMedia | FillMedia):
                self.contents.put(entry.change.media_id, entry.change.content)
            else:
                self.contents.drop(entry.key[0])
