"""Opens the file of a content for reading."""

from popcube_server.services.errors import NotFound
from popcube_server.services.media.find_media import MediaFinder
from popcube_server.services.media.media_address import MediaRequest
from popcube_server.services.media.media_uses import MediaUses
from popcube_server.services.media.sent_file import SentFile, StoredMedia
from popcube_server.services.platform import Platform
from storage.media_store import MediaFileMissing, MediaStore
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenedMedia:
    """An open file, which the receiver closes, and what it is."""

    file: SentFile
    size_bytes: int
    content_type: str
    file_name: str | None


async def open_file(platform: Platform, store: MediaStore, file_key: str) -> StoredMedia:
    """Raises `NotFound` if the store does not have it."""
    try:
        file = await platform.in_thread(lambda: store.open_to_send(file_key, 0))
    except MediaFileMissing:
        raise NotFound("The content of this media is missing on the server.") from None
    return StoredMedia(platform, file)


class DownloadMedia:
    def __init__(self, platform: Platform, store: MediaStore, find: MediaFinder, uses: MediaUses) -> None:
        self._platform = platform
        self._store = store
        self._find = find
        self._uses = uses

    async def open(self, request: MediaRequest) -> OpenedMedia:
        """Raises what the finder raises."""
        content = await self._find.get(request)
        try:
            file = await open_file(self._platform, self._store, content.file_key)
        except NotFound:
            if not await self._find.forget(request, content):
                raise
            content = await self._find.get(request)
            file = await open_file(self._platform, self._store, content.file_key)
        self._uses.note(content.file_key)
        return OpenedMedia(file, content.size_bytes, content.content_type, content.file_name)
