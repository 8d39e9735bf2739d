"""The client of a server that asks nobody is never made."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.transport.https import HttpRequest, ResponseLimits
from federation.transport.late_https import LateHttps
from federation.transport.route import Route, Target
from tests.federation.transport.fakes import FakeHttps, json_response

ROUTE = Route((Target("192.0.2.1", 443),), "two.example", "two.example")


class LateHttpsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.made: list[FakeHttps] = []
        self.https = LateHttps(self.make)

    def make(self) -> FakeHttps:
        client = FakeHttps(Clock())
        client.servers["two.example"] = json_response({})
        self.made.append(client)
        return client

    def ask(self) -> bytes:
        asking = self.https.request(ROUTE, HttpRequest("GET", "/"), ResponseLimits(1.0, 1000))
        return self.successResultOf(Deferred.fromCoroutine(asking)).body

    def test_all_requests_are_those_of_one_client(self) -> None:
        self.assertEqual([b"{}", b"{}"], [self.ask(), self.ask()])
        self.assertEqual([2], [len(client.requests) for client in self.made])

    def test_closing_makes_none(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.https.close()))
        self.assertEqual([], self.made)
