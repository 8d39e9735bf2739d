"""Gives another site a file of our own media."""

from popcube_server.services.errors import NotFound
from popcube_server.services.media.sent_file import SentFile, StoredMedia
from popcube_server.services.platform import Platform
from storage.media_store import MediaFileMissing, MediaStore
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that stands where reading begins, which the receiver closes, and how much is to be read."""

    file: SentFile
    size_bytes: int


class GiveToSite:
    def __init__(self, platform: Platform, store: MediaStore) -> None:
        self._platform = platform
        self._store = store

    async def open(self, file_key: str, offset: int) -> OpenedFile:
        """From `offset` on. Raises `NotFound`."""
        try:
            file = await self._platform.in_thread(lambda: self._store.open_to_send(file_key, offset))
        except MediaFileMissing:
            # It may not have come here yet either.
            raise NotFound("This site does not have the file.") from None
        return OpenedFile(StoredMedia(self._platform, file), file.left_bytes)
