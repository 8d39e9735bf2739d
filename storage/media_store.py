"""What keeps the bytes of media: the local disk, a bucket. Media are named by random keys that the server makes up."""

from typing import IO, Protocol

from synapse_like_config.lazy_dataclasses import dataclass

REMOTE_PREFIX = "remote/"
"""Keys of what was fetched from other servers begin with it, and so do those of thumbnails of that."""


class MediaFileMissing(Exception):
    """The store has no such file."""


class SourceTooLarge(Exception):
    """The source had more bytes than allowed; nothing was stored."""


class SourceClosed(Exception):
    """The source went away while it was read; nothing was stored."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What was stored."""

    size_bytes: int
    sha256: bytes


class FileToSend(Protocol):
    """A file that is read from its beginning to its end, while nobody may wait for the disk."""

    @property
    def left_bytes(self) -> int: ...

    def read_now(self, size_bytes: int) -> bytes | None:
        """The next bytes, at most so many, none at the end; None if the disk would have to be waited for."""

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, at most so many, none at the end. Blocks. Raises `OSError`."""

    def close(self) -> None:
        """At once, or as soon as what another thread reads is there."""


class MediaStore(Protocol):
    """Files by key (32 hexadecimal digits, `REMOTE_PREFIX` before them or not); each is written once.

    All methods block: call them on a thread.
    """

    def put(self, key: str, source: IO[bytes], max_bytes: int) -> StoredFile:
        """Store what `source` holds from where it stands; durable when this returns.

        Raises `SourceTooLarge`, `SourceClosed` or `OSError`, and has stored nothing then.
        """

    def open(self, key: str) -> IO[bytes]:
        """The file as a file of the operating system, for reading. Raises `MediaFileMissing`."""

    def open_to_send(self, key: str, offset: int) -> FileToSend:
        """The file from `offset` on. Raises `MediaFileMissing`."""

    def delete(self, key: str) -> None:
        """Forget a file; an absent one is no error."""


def key_beside(file_key: str, digits: str) -> str:
    """The key for 32 digits in the same part of the store as another file."""
    return REMOTE_PREFIX + digits if file_key.startswith(REMOTE_PREFIX) else digits
