"""Sending a file at the pace of the client."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.rest.front_door.file_sending import FILE_CHUNK_BYTES, FileSending


class FakeFile:
    """Has in memory what `ready` counts down; the rest must be waited for, until `deliver`."""

    def __init__(self, data: bytes) -> None:
        self.ready = 1000
        self.error: OSError | None = None
        self._data = data
        self._waiting: Deferred[None] | None = None

    def read_now(self, size_bytes: int) -> bytes | None:
        if self.error is not None:
            raise self.error
        if not self.ready:
            return None
        self.ready -= 1
        data, self._data = self._data[:size_bytes], self._data[size_bytes:]
        return data

    async def read(self, size_bytes: int) -> bytes:
        assert self._waiting is None
        self._waiting = Deferred()
        await self._waiting
        data, self._data = self._data[:size_bytes], self._data[size_bytes:]
        return data

    def deliver(self) -> None:
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        waiting.callback(None)

    def break_down(self) -> None:
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        waiting.errback(OSError("the disk is gone"))

    def close(self) -> None:
        raise AssertionError("whoever opened the file closes it")


class FakeRequest:
    """Keeps what is written; asks to pause after `room` writes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.written: list[bytes] = []
        self.producer: FileSending | None = None

    def registerProducer(self, producer: FileSending, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.room -= 1
        if self.room == 0:
            assert self.producer is not None
            self.producer.pauseProducing()


class FileSendingTests(SynchronousTestCase):
    data = bytes(range(256)) * (FILE_CHUNK_BYTES // 256) * 3 + b"end"

    def setUp(self) -> None:
        self.file = FakeFile(self.data)
        self.request = FakeRequest(room=2)
        self.sending = FileSending(self.file, self.request)  # type: ignore[arg-type]

    def test_client_that_takes_all_gets_all_at_once(self) -> None:
        self.request.room = 1000
        self.assertTrue(self.successResultOf(self.sending.send()))
        self.assertEqual(b"".join(self.request.written), self.data)
        self.assertIsNone(self.request.producer)

    def test_slow_client_is_waited_for(self) -> None:
        sent = self.sending.send()
        self.assertNoResult(sent)
        self.assertEqual(len(self.request.written), 2)
        self.request.room = 1000
        self.sending.resumeProducing()
        self.assertTrue(self.successResultOf(sent))
        self.assertEqual(b"".join(self.request.written), self.data)

    def test_client_that_goes_away_is_sent_no_more(self) -> None:
        sent = self.sending.send()
        self.sending.stopProducing()
        self.assertFalse(self.successResultOf(sent))
        self.sending.resumeProducing()
        self.assertEqual(len(self.request.written), 2)

    def test_cancelled_sending_sends_no_more(self) -> None:
        sent = self.sending.send()
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.sending.resumeProducing()
        self.sending.stopProducing()
        self.assertEqual(len(self.request.written), 2)

    def test_disk_is_waited_for(self) -> None:
        self.request.room = 1000
        self.file.ready = 1
        sent = self.sending.send()
        # The transport may ask again meanwhile; nobody reads twice.
        self.sending.pauseProducing()
        self.sending.resumeProducing()
        self.assertEqual(len(self.request.written), 1)
        self.file.deliver()
        self.assertEqual(len(self.request.written), 2)
        self.file.ready = 1000
        self.file.deliver()
        self.assertTrue(self.successResultOf(sent))
        self.assertEqual(b"".join(self.request.written), self.data)

    def test_what_comes_from_the_disk_is_followed_by_no_more_than_the_client_takes(self) -> None:
        self.file.ready = 0
        self.request.room = 1
        sent = self.sending.send()
        self.file.ready = 1000
        self.file.deliver()
        self.assertEqual(len(self.request.written), 1)
        self.assertNoResult(sent)

    def test_what_comes_from_the_disk_for_a_client_that_went_away_is_dropped(self) -> None:
        self.file.ready = 0
        sent = self.sending.send()
        self.sending.stopProducing()
        self.assertFalse(self.successResultOf(sent))
        self.file.deliver()
        self.assertEqual(self.request.written, [])

    def test_disk_that_fails_fails_the_sending(self) -> None:
        self.file.ready = 1
        sent = self.sending.send()
        self.file.break_down()
        self.failureResultOf(sent, OSError)
        self.assertIsNone(self.request.producer)

    def test_file_that_fails_at_once_fails_the_sending(self) -> None:
        self.file.error = OSError("the disk is gone")
        self.failureResultOf(self.sending.send(), OSError)
        self.assertIsNone(self.request.producer)

    def test_file_that_fails_behind_what_was_waited_for_fails_the_sending(self) -> None:
        self.file.ready = 0
        self.request.room = 1000
        sent = self.sending.send()
        self.file.error = OSError("the disk is gone")
        self.file.deliver()
        self.failureResultOf(sent, OSError)
        self.assertIsNone(self.request.producer)

    def test_disk_that_fails_when_nobody_waits_any_more_is_nobodys_concern(self) -> None:
        self.file.ready = 0
        sent = self.sending.send()
        self.sending.stopProducing()
        self.assertFalse(self.successResultOf(sent))
        self.file.break_down()
