"""How requests are read from the wire before anything looks at them."""

from collections.abc import Sequence
from io import BytesIO

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, Request

from popcube_server.connections import Connections
from popcube_server.rest.front_door.limited_request import (
    LARGE_BODIES_BYTES,
    LARGE_BODY_BYTES,
    SMALL_BODY_BYTES,
    limited_request,
)
from popcube_server.web_site import QuietSite


class Recorder:
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.kinds: list[type] = []
        self.targets: list[tuple[bytes, Sequence[bytes] | None]] = []

    def render(self, request: Request) -> None:
        assert request.content is not None and request.method == b"POST"
        self.bodies.append(request.content.read())
        self.kinds.append(type(request.content))
        self.targets.append((request.uri, request.requestHeaders.getRawHeaders(b"Host")))
        request.finish()


class LimitedRequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.recorder = Recorder()
        site = QuietSite(self.recorder, limited_request(100, 50, Connections()), Clock(), None)
        self.transport = StringTransport()
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)
        self.addCleanup(self.channel.connectionLost, Failure(ConnectionDone()))

    def post(self, body: bytes, content_type: str) -> bytes:
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.channel.dataReceived(head.encode() + body)
        return self.transport.value()

    def test_form_is_not_parsed(self) -> None:
        self.post(b"a=1&b=2", "application/x-www-form-urlencoded")
        self.post(b"--x\r\nbroken", "multipart/form-data; boundary=x")
        self.assertEqual(self.recorder.bodies, [b"a=1&b=2", b"--x\r\nbroken"])

    def test_body_that_is_too_large_is_not_taken(self) -> None:
        self.assertTrue(self.post(b"x" * 101, "text/plain").startswith(b"HTTP/1.1 413 "))
        self.assertEqual(self.recorder.bodies, [])

    def test_request_of_a_server_is_not_taken_for_an_upload(self) -> None:
        for path in ("/_matrix/federation/v1/send/1", "/_matrix/key/v2/query"):
            head = f"PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 51\r\n\r\n"
            self.setUp()
            # Refused before a byte of the body came.
            self.channel.dataReceived(head.encode())
            self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 413 "), path)

    def test_target_may_be_a_whole_url_whose_host_counts(self) -> None:
        targets = {
            "http://b.example/_matrix/x?y=z": (b"/_matrix/x?y=z", [b"b.example"]),
            "HTTPS://b.example:8448/a://b": (b"/a://b", [b"b.example:8448"]),
            "http://[::1]:80?y=/": (b"/?y=/", [b"[::1]:80"]),
            "http://b.example": (b"/", [b"b.example"]),
            "/http://b.example/": (b"/http://b.example/", [b"a.example"]),
            "gopher://b.example/": (b"gopher://b.example/", [b"a.example"]),
            "*": (b"*", [b"a.example"]),
        }
        for target in targets:
            self.channel.dataReceived(
                f"POST {target} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n".encode()
            )
        self.assertEqual(self.recorder.targets, [*targets.values()])

    def test_request_of_a_server_that_names_its_host_is_as_limited(self) -> None:
        head = "PUT http://a/_matrix/federation/v1/send/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 51\r\n\r\n"
        self.channel.dataReceived(head.encode())
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 413 "))

    def test_rest_of_a_body_that_is_too_large_is_not_taken_either(self) -> None:
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces = [chunked, b"64\r\n" + b"x" * 100 + b"\r\n", *[b"8\r\nxxxxxxxx\r\n"] * 3, b"0\r\n\r\n"]
        for piece in pieces:
            self.channel.dataReceived(piece)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 "), 1)
        self.assertEqual(self.recorder.bodies, [])

    def test_nothing_is_done_after_a_body_that_is_too_large(self) -> None:
        self.post(b"x" * 101, "text/plain")
        self.post(b"next", "text/plain")
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 "), 1)
        self.assertEqual(self.recorder.bodies, [])

    def test_nothing_is_done_after_a_head_that_cannot_be_read(self) -> None:
        both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n"
        for piece in (b"POST / HTTP/1.1\r\n" + both, *[b"0\r\n\r\n"] * 3):
            self.channel.dataReceived(piece)
        self.assertEqual(self.transport.value(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertEqual(self.recorder.bodies, [])

    def test_who_may_not_send_a_body_is_not_told_to_go_on(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
        self.channel.dataReceived(head % 101)
        self.assertNotIn(b"100 Continue", self.transport.value())
        self.setUp()
        self.channel.dataReceived(head % 100)
        self.assertIn(b"100 Continue", self.transport.value())

    def test_largest_body_is_taken(self) -> None:
        self.post(b"x" * 100, "text/plain")
        self.assertEqual(self.recorder.bodies, [b"x" * 100])


class LargeBodiesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.recorder = Recorder()
        self.make_request = limited_request(LARGE_BODY_BYTES + 1, 50, Connections())
        self.site = QuietSite(self.recorder, self.make_request, Clock(), None)

    def connect(self) -> HTTPChannel:
        channel = self.site.buildProtocol(None)
        channel.makeConnection(StringTransport())
        return channel

    def begin(self, channel: HTTPChannel, length: int) -> None:
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)

    def close(self, channel: HTTPChannel) -> None:
        channel.connectionLost(Failure(ConnectionDone()))

    def post(self, length: int) -> type:
        """What the body was in."""
        channel = self.connect()
        self.begin(channel, length)
        channel.dataReceived(b"x" * length)
        self.close(channel)
        self.assertEqual(self.recorder.bodies.pop(), b"x" * length)
        return self.recorder.kinds.pop()

    def test_body_of_some_size_stays_in_memory_and_a_larger_one_does_not(self) -> None:
        self.assertIs(self.post(SMALL_BODY_BYTES), BytesIO)
        self.assertIs(self.post(LARGE_BODY_BYTES), BytesIO)
        self.assertIsNot(self.post(LARGE_BODY_BYTES + 1), BytesIO)

    def test_many_at_once_do_not_fill_the_memory(self) -> None:
        others = [self.connect() for _ in range(LARGE_BODIES_BYTES // LARGE_BODY_BYTES)]
        for channel in others:
            self.begin(channel, LARGE_BODY_BYTES)
        self.assertIsNot(self.post(SMALL_BODY_BYTES), BytesIO)
        self.close(others.pop())
        for _ in range(3):
            self.assertIs(self.post(LARGE_BODY_BYTES), BytesIO)
        for channel in others:
            self.close(channel)


class Patient:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def render(self, request: Request) -> None:
        self.requests.append(request)


class BusyConnections(Connections):
    def __init__(self) -> None:
        super().__init__()
        self.busy: set[object] = set()
        self.is_stopping = False

    @property
    def is_closing(self) -> bool:
        return self.is_stopping

    def began(self, transport: object) -> None:
        self.busy.add(transport)

    def ended(self, transport: object) -> None:
        self.busy.discard(transport)


class WatchedRequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root, self.watch = Patient(), BusyConnections()
        self.transport = StringTransport()
        site = QuietSite(self.root, limited_request(100, 50, self.watch), Clock(), None)
        self.channel = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def test_connection_is_busy_while_a_request_is_under_way(self) -> None:
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(self.watch.busy, {self.transport})
        self.root.requests[0].finish()
        self.assertEqual(self.watch.busy, set())
        self.channel.connectionLost(Failure(ConnectionDone()))

    def test_connection_stays_busy_with_the_next_request_that_is_there_already(self) -> None:
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        self.root.requests[0].finish()
        self.assertEqual(len(self.root.requests), 2)
        self.assertEqual(self.watch.busy, {self.transport})
        self.root.requests[1].finish()
        self.assertEqual(self.watch.busy, set())
        self.channel.connectionLost(Failure(ConnectionDone()))

    def test_answer_that_had_begun_when_the_server_stopped_is_the_last_of_its_connection(self) -> None:
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        request = self.root.requests[0]
        request.setHeader(b"Content-Length", b"10")
        request.write(b"first")
        self.watch.is_stopping = True
        request.write(b", end")
        self.assertFalse(self.transport.disconnecting)
        request.finish()
        self.assertTrue(self.transport.value().endswith(b"\r\n\r\nfirst, end"))
        self.assertTrue(self.transport.disconnecting)
        self.channel.connectionLost(Failure(ConnectionDone()))

    def test_connection_that_is_lost_is_not_busy(self) -> None:
        self.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.watch.busy, set())
