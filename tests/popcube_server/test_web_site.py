"""The web server's part of a listener."""

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from zope.interface import implementer

from popcube_server.web_site import QuietSite


class _Empty:
    def render(self, request: Request) -> None:
        request.finish()


class _Rendered(Request):
    def process(self) -> None:
        self.channel.site.root.render(self)


class QuietSiteTests(SynchronousTestCase):
    def test_requests_are_answered_and_their_queries_are_not_logged(self) -> None:
        logged: list[LogEvent] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            logged.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        clock = Clock()
        site = QuietSite(_Empty(), _Rendered, clock, None)
        site.doStart()
        channel, transport = site.buildProtocol(None), StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /?access_token=secret HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 200 "))
        self.assertNotIn("secret", repr(logged))
        # Nothing runs while nobody calls.
        self.assertEqual(clock.getDelayedCalls(), [])
        channel.connectionLost(Failure(ConnectionDone()))
        site.doStop()
