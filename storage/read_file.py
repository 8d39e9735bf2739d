"""Reads a file of media to its end, without keeping the reactor waiting for the disk."""

import os
from threading import Lock

AHEAD_BYTES = 1 << 20
"""How much the kernel is asked to have ready once the disk had to be waited for."""

CAN_TELL = hasattr(os, "RWF_NOWAIT")
"""Whether the system can be asked what is in its cache: Linux can."""


class FileReader:
    """One open file, which it closes, and one reader, who may be on different threads one after the other."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._end = os.fstat(descriptor).st_size
        self._position = min(offset, self._end)
        self._byte = bytearray(1)
        self._lock = Lock()
        self._is_reading = False
        self._is_closed = False

    def __del__(self) -> None:
        # Whoever was to close it may have been cancelled before it was open.
        self.close()

    @property
    def left_bytes(self) -> int:
        return self._end - self._position

    def read_now(self, size_bytes: int) -> bytes | None:
        """The next bytes, at most so many, none at the end; None if the disk would have to be waited for.

        Raises `OSError`, seldom.
        """
        if self._is_closed:
            raise ValueError("the file is closed")
        left_bytes = self._end - self._position
        if not left_bytes:
            return b""
        # If the cache has both ends, it has what is between them, unless it is just about to be emptied. Reading all of
        # it like this would be one copy more.
        last = self._position + min(size_bytes, left_bytes) - 1
        if not (self._is_cached(self._position) and self._is_cached(last)):
            return None
        return self._read(size_bytes)

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, at most so many, none at the end. Blocks. Raises `OSError`."""
        self._begin_reading()
        try:
            # `read_now` is to find what comes behind it.
            if CAN_TELL:
                os.posix_fadvise(self._descriptor, self._position, AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
            return self._read(size_bytes)
        finally:
            self._end_reading()

    def close(self) -> None:
        """At once, or as soon as what another thread reads is there."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                if not self._is_reading:
                    os.close(self._descriptor)

    def _is_cached(self, position: int) -> bool:
        if not CAN_TELL:
            return False
        try:
            return os.preadv(self._descriptor, [self._byte], position, os.RWF_NOWAIT) > 0
        except OSError:
            # It is not, or the file system does not know. Whatever else it is, whoever waits for the disk is told.
            return False

    def _read(self, size_bytes: int) -> bytes:
        left_bytes = self._end - self._position
        data = os.pread(self._descriptor, min(size_bytes, left_bytes), self._position)
        if left_bytes and not data:
            # Its size was told to the client: less must not look like all of it.
            raise OSError("the file has become shorter while it was read")
        self._position += len(data)
        return data

    def _begin_reading(self) -> None:
        with self._lock:
            if self._is_closed:
                raise ValueError("the file is closed")
            self._is_reading = True

    def _end_reading(self) -> None:
        with self._lock:
            self._is_reading = False
            if self._is_closed:
                os.close(self._descriptor)
