"""Content on its way to the store: small in memory, large on disk, and never too large."""

import hashlib
import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.media.spool import MAX_PENDING_BYTES, Spool
from popcube_server.services.platform import Platform
from storage.media_files import LocalMediaFiles
from storage.media_store import SourceTooLarge, StoredFile
from tests.storage.storage_case import synchronous

KEY = "remote/" + "0" * 32


class SpoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = LocalMediaFiles(Path(self.mktemp()).absolute())
        self.store.prepare()
        self.platform = Platform(Clock(), os.urandom, synchronous)

    def spool(self, max_bytes: int) -> Spool:
        spool = Spool(self.platform, max_bytes)
        self.addCleanup(spool.close)
        return spool

    def write(self, spool: Spool, data: bytes) -> None:
        self.successResultOf(Deferred.fromCoroutine(spool.write(data)))

    def test_what_was_written_is_stored(self) -> None:
        for number, size in enumerate((0, 1, MAX_PENDING_BYTES, 3 * MAX_PENDING_BYTES + 5)):
            data = os.urandom(size)
            spool = self.spool(size)
            for at in range(0, size, 100_000):
                self.write(spool, data[at : at + 100_000])
            key = KEY[:-1] + str(number)
            stored = self.successResultOf(Deferred.fromCoroutine(spool.store(self.store, key)))
            self.assertEqual(stored, StoredFile(size, hashlib.sha256(data).digest()))
            with self.store.open(key) as file:
                self.assertEqual(file.read(), data)

    def test_more_than_allowed_is_refused(self) -> None:
        spool = self.spool(10)
        self.write(spool, b"x" * 10)
        self.failureResultOf(Deferred.fromCoroutine(spool.write(b"x")), SourceTooLarge)
