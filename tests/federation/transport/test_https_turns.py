"""How many requests are under way at a time, and to whom."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from federation.transport.address_policy import AddressPolicy, IPAddress
from federation.transport.errors import TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.https_client import MAX_REQUESTS, MAX_REQUESTS_OF_DOMAIN, HttpsClient
from federation.transport.names import ServiceRecord
from federation.transport.route import Route, Target

LIMITS = ResponseLimits(timeout_s=30, max_bytes=1000)


class SilentNames:
    """Nobody ever answers where a host is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find_addresses(self, host: str) -> Sequence[IPAddress]:
        self.asked.append(host)
        await Deferred()
        return ()

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        return ()


class AnyTls:
    def connection_creator(self, certificate_name: str) -> object:
        return object()


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.names = SilentNames()
        clock: Any = self.clock
        self.client = HttpsClient(clock, lambda *_: None, self.names, AddressPolicy((), ()), AnyTls())

    def ask(self, host: str) -> "Deferred[HttpResponse]":
        route = Route((Target(host, 443),), host, host)
        return Deferred.fromCoroutine(self.client.request(route, HttpRequest("GET", "/"), LIMITS))

    def test_names_of_one_domain_share_its_places(self) -> None:
        slow = [self.ask(f"x{number}.Slow.example") for number in range(2 * MAX_REQUESTS)]
        self.assertEqual(len(self.names.asked), MAX_REQUESTS_OF_DOMAIN)
        others = [self.ask(f"{number}.other.example") for number in range(3)]
        self.assertEqual(len(self.names.asked), MAX_REQUESTS_OF_DOMAIN + 3)
        self.clock.advance(30)
        for pending in (*slow, *others):
            self.failureResultOf(pending, TransportError)
        # Whoever gave up takes no place.
        again = self.ask("x.slow.example")
        self.assertEqual(self.names.asked[-1], "x.slow.example")
        self.clock.advance(30)
        self.failureResultOf(again, TransportError)

    def test_all_domains_together_are_bounded(self) -> None:
        asking = [self.ask(f"matrix.domain{number}.example") for number in range(10)]
        asking += [self.ask(f"domain{number}") for number in range(MAX_REQUESTS)]
        self.assertEqual(len(self.names.asked), MAX_REQUESTS)
        self.clock.advance(30)
        for pending in asking:
            self.failureResultOf(pending, TransportError)
