"""Files of media on the local disk.

A file has a random key and is never changed: what is stored under a key is whole or absent, also after a power cut.
The same keys serve for a bucket, and for another site's copy. Everything here blocks: call it on a thread.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, TypeVar

from storage.media_store import (
    REMOTE_PREFIX,
    MediaFileMissing,
    SourceClosed,
    SourceTooLarge,
    StoredFile,
)
from storage.read_file import FileReader

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024

_KEY = re.compile(rf"(?:{REMOTE_PREFIX})?[0-9a-f]{{32}}")


class LocalMediaFiles:
    """A `MediaStore` in a folder: `files/` holds our own media, `remote/` others', `incoming/` what is on its way."""

    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._remote = folder / "remote"
        self._incoming = folder / "incoming"
        # Which of `files` and `remote` have all folders for keys, on disk. Threads share it: adding twice does no harm.
        self._filled: set[Path] = set()

    def prepare(self) -> None:
        """Make the folders. Raises `OSError` if that cannot be."""
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remote.mkdir(mode=0o700, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(self._files.parent)
        _sync_folder(self._files.parent.parent)

    def put(self, key: str, source: IO[bytes], max_bytes: int) -> StoredFile:
        """Store what `source` holds from where it stands; on disk when this returns.

        Raises `SourceTooLarge`, `SourceClosed` or `OSError`. Under a key that is used twice there must be the same
        bytes.
        """
        path = self._path(key)
        # A name of its own: what was fetched from another site is fetched again under the same key after a crash.
        temporary = f"{self._incoming}/{path.name}.{os.urandom(8).hex()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                stored = _copy(source, descriptor, max_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._publish(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return stored

    def open(self, key: str) -> IO[bytes]:
        """The file, for reading; the reader closes it. Raises `MediaFileMissing`."""
        try:
            return self._path(key).open("rb")
        except FileNotFoundError:
            raise MediaFileMissing(key) from None

    def open_to_send(self, key: str, offset: int) -> FileReader:
        """The file from `offset` on; the reader closes it. Raises `MediaFileMissing` or `OSError`."""
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MediaFileMissing(key) from None
        return FileReader(descriptor, offset)

    def delete(self, key: str) -> None:
        """Forget a file; readers that have it open go on reading. An absent one is no error."""
        self._path(key).unlink(missing_ok=True)

    def remove_leftovers(self, older_than_s: float) -> int:
        """Remove what processes that died were writing: not touched since `older_than_s` (a Unix time)."""
        removed = 0
        for path in self._incoming.iterdir():
            try:
                if path.stat().st_mtime < older_than_s:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                # Another replica finished or removed it meanwhile.
                continue
        return removed

    def _publish(self, temporary: str, path: Path) -> None:
        folder = path.parent
        if folder.parent not in self._filled:
            _fill(folder.parent)
            self._filled.add(folder.parent)
        os.rename(temporary, path)
        # The name must outlive a power cut as the bytes do.
        _sync_folder(folder)

    def _path(self, key: str) -> Path:
        # A key is ours, never a client's; all the same, nothing else may ever become a path.
        if not _KEY.fullmatch(key):
            raise ValueError("that is no key of a media file")
        digits = key.removeprefix(REMOTE_PREFIX)
        return (self._files if digits == key else self._remote) / digits[:2] / digits[2:]


def _fill(folder: Path) -> None:
    """Make all folders for keys at once: one by one, each would have to be waited for until it is on disk."""
    there = set(os.listdir(folder))
    for number in range(256):
        name = f"{number:02x}"
        if name not in there:
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    # Also those that were there: who made them may have died before this.
    _sync_folder(folder)


def _copy(source: IO[bytes], target: int, max_bytes: int) -> StoredFile:
    digest = hashlib.sha256()
    size_bytes = 0
    for chunk in _chunks(source):
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise SourceTooLarge(f"more than {max_bytes} bytes")
        digest.update(chunk)
        _write(target, chunk)
    return StoredFile(size_bytes, digest.digest())


def _write(target: int, data: bytes | memoryview) -> None:
    written = os.write(target, data)
    while written < len(data):
        # A signal came, or the disk is full: the next call says which.
        data = data[written:]
        written = os.write(target, data)


def _chunks(source: IO[bytes]) -> Iterator[bytes | memoryview]:
    if type(source) is BytesIO:
        # Its own bytes, not copies of them. In pieces all the same: the kernel takes a whole MiB less easily.
        content = memoryview(_read(source.getvalue))
        for begin in range(_read(source.tell), len(content), CHUNK_BYTES):
            yield content[begin : begin + CHUNK_BYTES]
        return
    while chunk := _read(lambda: source.read(CHUNK_BYTES)):
        yield chunk


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        # The web server closes the body of a request whose client goes away.
        raise SourceClosed("the source was closed while it was read") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
