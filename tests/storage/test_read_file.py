"""Reading a file for a client, with and without waiting for the disk."""

import gc
import os
from pathlib import Path
from threading import Event, Thread

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from storage import read_file
from storage.read_file import FileReader

DATA = bytes(range(256)) * 4096


class FileReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_bytes(DATA)

    def open(self, offset: int = 0) -> FileReader:
        self.descriptor = os.open(self.path, os.O_RDONLY)
        reader = FileReader(self.descriptor, offset)
        self.addCleanup(reader.close)
        return reader

    def assert_closed(self) -> None:
        self.assertRaises(OSError, os.fstat, self.descriptor)

    def forget(self) -> None:
        """Make the kernel forget what it has in its cache of the file."""
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            # Newer kernels begin to read what was asked for so: not what the test will ask for.
            os.preadv(descriptor, [bytearray(1)], len(DATA) - 1, os.RWF_NOWAIT)
        except OSError:
            return
        raise SkipTest("the file system keeps it in memory")

    def read_all(self, reader: FileReader, size_bytes: int) -> bytes:
        parts: list[bytes] = []
        while True:
            data = reader.read_now(size_bytes)
            if data is None:
                data = reader.read(size_bytes)
            if not data:
                return b"".join(parts)
            self.assertLessEqual(len(data), size_bytes)
            parts.append(data)

    def test_all_is_read(self) -> None:
        for size_bytes in (len(DATA) // 8, 77_777, len(DATA) + 1):
            self.assertEqual(self.read_all(self.open(), size_bytes), DATA)

    def test_rest_is_read_from_an_offset(self) -> None:
        for offset in (5, len(DATA) - 5, len(DATA), len(DATA) + 5):
            reader = self.open(offset)
            self.assertEqual(reader.left_bytes, len(DATA[offset:]))
            self.assertEqual(self.read_all(reader, 100_000), DATA[offset:])

    def test_reading_on_a_thread_alone_gives_the_same(self) -> None:
        reader = self.open(7)
        parts = list(iter(lambda: reader.read(100_000), b""))
        self.assertEqual(b"".join(parts), DATA[7:])

    def test_what_must_be_waited_for_is_not_read_now(self) -> None:
        self.forget()
        reader = self.open()
        self.assertIsNone(reader.read_now(100))
        self.assertEqual(reader.left_bytes, len(DATA))
        self.assertEqual(reader.read(100), DATA[:100])
        self.assertEqual(self.read_all(reader, 100_000), DATA[100:])

    def test_where_nobody_can_tell_what_is_cached_all_must_be_waited_for(self) -> None:
        self.patch(read_file, "CAN_TELL", False)
        reader = self.open()
        self.assertIsNone(reader.read_now(100))
        self.assertEqual(self.read_all(reader, 100_000), DATA)

    def test_file_that_has_become_shorter_is_an_error_and_not_its_end(self) -> None:
        reader = self.open()
        os.truncate(self.path, 100)
        self.assertIsNone(reader.read_now(200))
        self.assertEqual(reader.read(200), DATA[:100])
        self.assertIsNone(reader.read_now(200))
        self.assertRaises(OSError, reader.read, 200)

    def test_no_more_is_read_than_there_was_at_the_beginning(self) -> None:
        reader = self.open(len(DATA) - 5)
        with self.path.open("ab") as file:
            file.write(b"more")
        self.assertEqual(self.read_all(reader, 100), DATA[-5:])

    def test_closing_closes_the_file(self) -> None:
        reader = self.open()
        reader.read(5)
        reader.close()
        self.assert_closed()
        reader.close()
        self.assertRaises(ValueError, reader.read, 5)
        # The number of its descriptor may be another file's by now.
        self.assertRaises(ValueError, reader.read_now, 5)

    def test_reader_that_nobody_has_any_more_closes_the_file(self) -> None:
        self.descriptor = os.open(self.path, os.O_RDONLY)
        reader = FileReader(self.descriptor, 0)
        del reader
        gc.collect()
        self.assert_closed()

    def test_file_that_is_closed_while_it_is_read_stays_open_until_it_was(self) -> None:
        reading, going_on = Event(), Event()
        self.addCleanup(going_on.set)

        class SlowReader(FileReader):
            def _read(self, size_bytes: int) -> bytes:
                reading.set()
                going_on.wait()
                return super()._read(size_bytes)

        self.descriptor = os.open(self.path, os.O_RDONLY)
        reader = SlowReader(self.descriptor, 0)
        got: list[bytes] = []
        thread = Thread(target=lambda: got.append(reader.read(5)))
        thread.start()
        reading.wait()
        reader.close()
        os.fstat(self.descriptor)
        going_on.set()
        thread.join()
        self.assertEqual(got, [DATA[:5]])
        self.assert_closed()
