"""Content on its way into the media store: a little of it in memory, the rest in a temporary file."""

import tempfile
from io import BytesIO
from typing import IO

from popcube_server.services.platform import Platform
from storage.media_store import MediaStore, SourceTooLarge, StoredFile

MAX_PENDING_BYTES = 512 * 1024


class Spool:
    """One content. Whatever becomes of it, it is to be closed."""

    def __init__(self, platform: Platform, max_bytes: int) -> None:
        self._platform = platform
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: IO[bytes] | None = None

    async def write(self, data: bytes) -> None:
        """Take a piece; returns when the next one may come. Raises `SourceTooLarge`."""
        self._size_bytes += len(data)
        if self._size_bytes > self._max_bytes:
            raise SourceTooLarge(f"more than {self._max_bytes} bytes")
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= MAX_PENDING_BYTES:
            await self._platform.in_thread(self._flush)

    async def store(self, store: MediaStore, key: str) -> StoredFile:
        """Put the whole into the store; on disk when this returns."""
        return await self._platform.in_thread(lambda: self._put(store, key))

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._file.writelines(self._pending)
        self._pending.clear()
        self._pending_bytes = 0

    def _put(self, store: MediaStore, key: str) -> StoredFile:
        if self._file is None:
            return store.put(key, BytesIO(b"".join(self._pending)), self._max_bytes)
        self._flush()
        self._file.seek(0)
        return store.put(key, self._file, self._max_bytes)
