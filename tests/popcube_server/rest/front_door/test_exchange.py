"""A request and its answer, when something goes wrong between them."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.connections import Connections
from popcube_server.rest.endpoint import Access, Call, FileAnswer, Payload, endpoint
from popcube_server.rest.front_door.door import FrontDoor, JsonLimits
from popcube_server.rest.front_door.limited_request import limited_request
from popcube_server.rest.front_door.root import RootResource
from popcube_server.rest.front_door.site import Site
from popcube_server.rest.router import Router
from popcube_server.web_site import QuietSite


class BrokenFile:
    """Has a beginning, and a disk that fails behind it."""

    def __init__(self) -> None:
        self.closed = False
        self.error: Exception | None = OSError("the disk is gone")
        self._data: list[bytes] = [b"begin"]

    def read_now(self, size_bytes: int) -> bytes | None:
        return self._data.pop() if self._data else None

    async def read(self, size_bytes: int) -> bytes:
        if self.error is None:
            return b""
        raise self.error

    def close(self) -> None:
        self.closed = True


class Files:
    def __init__(self) -> None:
        self.file = BrokenFile()

    @endpoint("GET", "/file", Access.OPEN, Payload.NONE)
    async def get(self, call: Call) -> FileAnswer:
        return FileAnswer(self.file, 10, "text/plain")


class Observer:
    def answered(self, endpoint: str, code: int, duration_s: float) -> None:
        pass


class ExchangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = Files()
        nobody: Any = None
        site = Site(Router([self.files]), nobody, nobody, nobody, Observer())
        door = FrontDoor(
            find_site=lambda host: site,
            x_forwarded=False,
            is_trusted_proxy=lambda peer: False,
            is_served=lambda path: True,
            json_limits=JsonLimits(1000, 10, 1000),
            timer_s=lambda: 0.0,
            new_request_id=lambda: "test",
        )
        root = RootResource(door)
        self.transport = StringTransport()
        channel = QuietSite(root, limited_request(100, 50, Connections()), Clock(), None).buildProtocol(None)
        channel.makeConnection(self.transport)
        self.addCleanup(channel.connectionLost, Failure(ConnectionDone()))
        self.channel = channel

    def test_file_that_cannot_be_read_to_its_end_breaks_the_answer_off(self) -> None:
        self.assert_broken_off()

    def test_error_of_ours_in_the_middle_of_a_file_breaks_the_answer_off(self) -> None:
        self.files.file.error = RuntimeError("can't start new thread")
        self.assert_broken_off()

    def test_file_that_is_shorter_than_its_record_says_breaks_the_answer_off(self) -> None:
        self.files.file.error = None
        self.assert_broken_off()

    def assert_broken_off(self) -> None:
        with self.assertLogs("popcube_server.rest.front_door.exchange", "ERROR"):
            self.channel.dataReceived(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
        # Nothing that could be taken for the rest of the file, or for another answer.
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\nbegin"), self.transport.value())
        self.assertTrue(self.transport.disconnecting)
        self.assertTrue(self.files.file.closed)
