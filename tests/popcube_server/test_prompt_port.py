"""Answers that are sent without asking first whether the connection takes them."""

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from popcube_server.connections import Connections, WatchedFactory
from popcube_server.prompt_port import PromptConnection
from popcube_server.rest.front_door.limited_request import limited_request
from popcube_server.web_site import QuietSite

LARGE_BYTES = 8 * 1024 * 1024


class Descriptors:
    """The part of a reactor that watches connections."""

    def __init__(self) -> None:
        self.writers: set[object] = set()

    def addReader(self, reader: object) -> None:
        pass

    def removeReader(self, reader: object) -> None:
        pass

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)


class LocalConnection(PromptConnection):
    """Between two sockets of a pair, which have none of TCP's options."""

    def setTcpNoDelay(self, enabled: object) -> None:
        pass

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 80)


class PromptConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        ours, self.client = socket.socketpair()
        for one in (ours, self.client):
            one.setblocking(False)
            self.addCleanup(one.close)
        self.reactor = Descriptors()
        reactor: Any = self.reactor
        protocol: Any = Protocol()
        port: Any = None
        self.connection = LocalConnection(ours, protocol, ("192.0.2.1", 1), port, 0, reactor)

    def received(self) -> bytes:
        """What has come until now."""
        pieces = []
        try:
            while piece := self.client.recv(1 << 16):
                pieces.append(piece)
        except BlockingIOError:
            pass
        return b"".join(pieces)

    def test_what_is_written_together_is_sent_at_once_in_one_piece(self) -> None:
        self.connection.hold()
        self.connection.write(b"head, ")
        self.connection.writeSequence([b"bo", b"dy"])
        self.assertEqual(self.received(), b"")
        self.connection.release()
        self.assertEqual(self.received(), b"head, body")
        self.assertEqual(self.reactor.writers, set())

    def test_what_the_kernel_does_not_take_is_sent_when_it_does(self) -> None:
        self.connection.hold()
        self.connection.write(b"x" * LARGE_BYTES)
        self.connection.release()
        received = len(self.received())
        self.assertLess(received, LARGE_BYTES)
        while self.reactor.writers:
            self.assertIsNone(self.connection.doWrite())
            received += len(self.received())
        self.assertEqual(received, LARGE_BYTES)

    def test_what_is_written_next_keeps_its_place_behind_what_waits(self) -> None:
        for data in (b"x" * LARGE_BYTES, b"end"):
            self.connection.hold()
            self.connection.write(data)
            self.connection.release()
        received = self.received()
        while self.reactor.writers:
            self.assertIsNone(self.connection.doWrite())
            received += self.received()
        self.assertEqual(received, b"x" * LARGE_BYTES + b"end")

    def test_other_writing_waits_for_the_reactor(self) -> None:
        self.connection.write(b"data")
        self.assertEqual(self.received(), b"")
        self.assertEqual(self.reactor.writers, {self.connection})

    def test_release_of_nothing_sends_nothing(self) -> None:
        self.connection.hold()
        self.connection.release()
        self.assertEqual(self.reactor.writers, set())

    def test_lost_connection_is_left_to_the_reactor(self) -> None:
        self.client.close()
        self.connection.hold()
        self.connection.write(b"data")
        self.connection.release()
        self.assertEqual(self.reactor.writers, {self.connection})
        # It hears of it where it deals with that.
        self.assertIsInstance(self.connection.doWrite(), Exception)

    def test_end_of_the_connection_waits_until_all_is_sent(self) -> None:
        self.connection.hold()
        self.connection.write(b"last")
        self.connection.loseConnection()
        self.connection.release()
        self.assertEqual(self.received(), b"last")
        # Only the reactor closes connections.
        self.assertEqual(self.reactor.writers, {self.connection})

    def test_answer_goes_at_once_with_its_head(self) -> None:
        connections = Connections()
        site = QuietSite(_Hello(), limited_request(100, 50, connections), Clock(), None)
        wrapped: Any = WatchedFactory(site, connections).buildProtocol(self.connection.getPeer())
        wrapped.makeConnection(self.connection)
        wrapped.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = self.client.recv(1 << 16)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\nhello"), answer)
        self.assertIn(b"\r\nDate: ", answer)
        self.assertEqual(self.reactor.writers, set())
        # Writing that nobody holds back waits as before.
        self.connection.write(b"more")
        self.assertEqual(self.reactor.writers, {self.connection})


class _Hello:
    def render(self, request: Request) -> None:
        request.setHeader(b"Content-Length", b"5")
        request.write(b"hello")
        request.finish()
