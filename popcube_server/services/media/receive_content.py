"""Takes the bytes of an upload from the request to the media store."""

from typing import IO

from popcube_server.services.errors import InvalidParam, TooLarge
from popcube_server.services.platform import Platform
from storage.media import ContentRecord
from storage.media_store import MediaStore, SourceClosed, SourceTooLarge, StoredFile
from synapse_like_config.lazy_dataclasses import dataclass

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client sends."""

    source: IO[bytes]
    size_bytes: int
    content_type: str
    file_name: str | None


class ReceiveContent:
    """Stores uploads whole or not at all; on disk before anybody hears of them."""

    def __init__(self, platform: Platform, store: MediaStore, max_bytes: int, freezes: bool) -> None:
        self._platform = platform
        self._store = store
        self._max_bytes = max_bytes
        self._freezes = freezes

    def check_size(self, upload: Upload) -> None:
        """Raises `TooLarge`."""
        if upload.size_bytes > self._max_bytes:
            raise TooLarge(f"The content is larger than the {self._max_bytes} bytes that this server takes.")

    async def receive(self, upload: Upload) -> ContentRecord:
        """Store the content. Raises `TooLarge`, or `InvalidParam` if the client went away meanwhile."""
        self.check_size(upload)
        key = self._platform.random_bytes(KEY_BYTES).hex()
        stored = await self._platform.in_thread(lambda: self._put(key, upload))
        return ContentRecord(
            self._platform.now_ms(),
            upload.content_type,
            upload.file_name,
            stored.size_bytes,
            stored.sha256,
            key,
            self._freezes,
        )

    async def discard(self, content: ContentRecord) -> None:
        """Delete what was received: its record was refused."""
        await self._platform.in_thread(lambda: self._store.delete(content.file_key))

    def _put(self, key: str, upload: Upload) -> StoredFile:
        try:
            return self._store.put(key, upload.source, self._max_bytes)
        except SourceTooLarge:
            raise TooLarge(
                f"The content is larger than the {self._max_bytes} bytes that this server takes."
            ) from None
        except SourceClosed:
            raise InvalidParam("The upload was interrupted.") from None
