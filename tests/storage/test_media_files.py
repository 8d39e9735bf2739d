"""Files of media on the local disk."""

import hashlib
import os
from io import BytesIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from storage.media_files import CHUNK_BYTES, LocalMediaFiles
from storage.media_store import MediaFileMissing, SourceClosed, SourceTooLarge

KEY = "0123456789abcdef" * 2


class BreaksOff(BytesIO):
    """The client goes away after the first piece."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.close()
        return data


class LocalMediaFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "media"
        self.store = LocalMediaFiles(self.folder)
        self.store.prepare()

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def test_what_was_put_is_read_again(self) -> None:
        data = os.urandom(2 * CHUNK_BYTES + 7)
        stored = self.store.put(KEY, BytesIO(data), len(data))
        self.assertEqual((stored.size_bytes, stored.sha256), (len(data), hashlib.sha256(data).digest()))
        with self.store.open(KEY) as file:
            self.assertEqual(file.read(), data)
        self.assertEqual(self.names(), [f"files/01/{KEY[2:]}"])

    def test_other_servers_media_have_a_folder_of_their_own(self) -> None:
        self.store.put("remote/" + KEY, BytesIO(b"theirs"), 6)
        self.store.put(KEY, BytesIO(b"ours"), 4)
        with self.store.open("remote/" + KEY) as file:
            self.assertEqual(file.read(), b"theirs")
        self.assertEqual(self.names(), [f"files/01/{KEY[2:]}", f"remote/01/{KEY[2:]}"])
        self.store.delete("remote/" + KEY)
        self.assertEqual(self.names(), [f"files/01/{KEY[2:]}"])

    def test_another_store_over_the_same_folder_has_it_too(self) -> None:
        self.store.put(KEY, BytesIO(b"data"), 4)
        again = LocalMediaFiles(self.folder)
        again.prepare()
        with again.open(KEY) as file:
            self.assertEqual(file.read(), b"data")

    def test_folders_for_keys_are_made_at_once_and_those_that_are_missing_at_the_next_start(self) -> None:
        self.store.put(KEY, BytesIO(b"data"), 4)
        folders = sorted(path.name for path in (self.folder / "files").iterdir())
        self.assertEqual(folders, [f"{number:02x}" for number in range(256)])
        self.assertEqual(list((self.folder / "remote").iterdir()), [])
        # An earlier process died while it made them.
        (self.folder / "files" / "ff").rmdir()
        again = LocalMediaFiles(self.folder)
        again.put("f" * 32, BytesIO(b"more"), 4)
        with again.open("f" * 32) as file:
            self.assertEqual(file.read(), b"more")

    def test_source_is_taken_from_where_it_stands(self) -> None:
        source = BytesIO(b"header\nrest")
        source.readline()
        self.store.put(KEY, source, 4)
        with self.store.open(KEY) as file:
            self.assertEqual(file.read(), b"rest")

    def test_a_source_in_memory_is_stored_whole_from_where_it_stands(self) -> None:
        data = bytes(range(256)) * 3000
        source = BytesIO(data)
        source.seek(7)
        stored = self.store.put(KEY, source, len(data))
        self.assertEqual(
            (len(data) - 7, hashlib.sha256(data[7:]).digest()), (stored.size_bytes, stored.sha256)
        )
        with self.store.open(KEY) as file:
            self.assertEqual(data[7:], file.read())

    def test_a_source_in_memory_that_was_closed_leaves_nothing(self) -> None:
        source = BytesIO(b"data")
        source.close()
        self.assertRaises(SourceClosed, self.store.put, KEY, source, 4)
        self.assertEqual(self.names(), [])

    def test_a_key_is_put_again_though_an_earlier_process_died_over_it(self) -> None:
        (self.folder / "incoming" / KEY).write_bytes(b"half of")
        self.store.put(KEY, BytesIO(b"data"), 4)
        self.store.put(KEY, BytesIO(b"data"), 4)
        with self.store.open(KEY) as file:
            self.assertEqual(file.read(), b"data")
        self.assertEqual(self.names(), [f"files/01/{KEY[2:]}", f"incoming/{KEY}"])

    def test_too_large_source_leaves_nothing(self) -> None:
        self.assertRaises(SourceTooLarge, self.store.put, KEY, BytesIO(b"12345"), 4)
        self.assertEqual(self.names(), [])

    def test_source_that_breaks_off_leaves_nothing(self) -> None:
        source = BreaksOff(b"x" * (CHUNK_BYTES + 1))
        self.assertRaises(SourceClosed, self.store.put, KEY, source, 10 * CHUNK_BYTES)
        self.assertEqual(self.names(), [])

    def test_key_that_is_not_ours_never_becomes_a_path(self) -> None:
        for key in (
            "../../../etc/passwd",
            "",
            "/etc/passwd",
            KEY.upper(),
            KEY + "/..",
            KEY[:-1],
            "remote/",
            f"remote/../{KEY}",
        ):
            self.assertRaises(ValueError, self.store.put, key, BytesIO(b""), 4)
            self.assertRaises(ValueError, self.store.open, key)
            self.assertRaises(ValueError, self.store.delete, key)

    def test_deleted_file_is_missing_and_its_readers_go_on(self) -> None:
        self.store.put(KEY, BytesIO(b"data"), 4)
        with self.store.open(KEY) as file:
            self.store.delete(KEY)
            self.assertEqual(file.read(), b"data")
        self.assertRaises(MediaFileMissing, self.store.open, KEY)
        self.store.delete(KEY)

    def test_nobody_else_may_read_the_files(self) -> None:
        self.store.put(KEY, BytesIO(b"data"), 4)
        path = self.folder / "files" / KEY[:2] / KEY[2:]
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)

    def test_old_leftovers_are_removed_and_young_ones_are_not(self) -> None:
        for name, at_s in (("old", 1000), ("young", 2000)):
            path = self.folder / "incoming" / name
            path.write_bytes(b"half")
            os.utime(path, (at_s, at_s))
        self.store.put(KEY, BytesIO(b"data"), 4)
        self.assertEqual(self.store.remove_leftovers(1500), 1)
        self.assertEqual(self.names(), [f"files/01/{KEY[2:]}", "incoming/young"])
