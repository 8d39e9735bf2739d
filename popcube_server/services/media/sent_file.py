"""Files on their way to a client: read on the reactor's thread only what is in memory."""

from typing import Protocol

from popcube_server.services.platform import Platform
from storage.media_store import FileToSend


class SentFile(Protocol):
    """An open file, read from its beginning to its end by one reader, who closes it."""

    def read_now(self, size_bytes: int) -> bytes | None:
        """The next bytes, at most so many, none at the end; None if they must be waited for, with `read`.

        Raises `OSError`.
        """

    async def read(self, size_bytes: int) -> bytes:
        """The next bytes, at most so many, none at the end. Raises `OSError`."""

    def close(self) -> None:
        """May come while `read` is waited for."""


class StoredMedia:
    """A `SentFile` of the media store."""

    def __init__(self, platform: Platform, file: FileToSend) -> None:
        self._platform = platform
        self._file = file
        self.read_now = file.read_now
        self.close = file.close

    async def read(self, size_bytes: int) -> bytes:
        return await self._platform.in_thread(lambda: self._file.read(size_bytes))
