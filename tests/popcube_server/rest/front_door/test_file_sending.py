"""Sending a file at the pace of the client."""

from io import BytesIO

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.rest.front_door.file_sending import FILE_CHUNK_BYTES, FileSending


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
        self.request = FakeRequest(room=2)
        self.sending = FileSending(BytesIO(self.data), self.request)  # type: ignore[arg-type]

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
