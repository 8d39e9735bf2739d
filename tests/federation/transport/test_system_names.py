"""DNS over a real socket: twisted.names asks a server on the loopback address."""

from ipaddress import ip_address
from typing import Any

from twisted.internet import reactor as _installed_reactor
from twisted.internet.defer import fail, succeed
from twisted.names import client, dns, error
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import TestCase

from federation.transport.names import LookupFailed, ServiceRecord
from federation.transport.service_records import ServiceRecords
from federation.transport.system_names import SystemNames

reactor: Any = _installed_reactor


class Zone:
    """What the DNS server knows."""

    def query(self, query: dns.Query, timeout: Any = None) -> Any:
        name = query.name.name.decode()
        if name == "broken.example":
            return fail(ValueError(name))
        if query.type != dns.SRV or not name.startswith("_matrix"):
            return fail(error.DomainError())
        targets = {"_matrix._tcp.one.example": "two.example", "_matrix._tcp.none.example": ""}
        if name == "_matrix._tcp.empty.example":
            return succeed(([], [], []))
        if name not in targets:
            return fail(error.DomainError())
        service: Any = dns.Record_SRV(10, 20, 8449, targets[name], 77)
        address: Any = dns.Record_A("192.0.2.1", 5)
        return succeed(
            (
                [dns.RRHeader(name, dns.SRV, ttl=77, payload=service)],
                [],
                [dns.RRHeader("two.example", dns.A, ttl=5, payload=address)],
            )
        )


class SystemNamesTests(TestCase):
    timeout = 10

    def setUp(self) -> None:
        factory = DNSServerFactory(clients=[Zone()])
        port = reactor.listenUDP(0, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        servers = [("127.0.0.1", port.getHost().port)]
        resolver = client.Resolver(servers=servers, reactor=reactor)
        self.names = SystemNames(reactor, lambda reactor: ServiceRecords(resolver))

    async def test_service_records(self) -> None:
        found = await self.names.find_services("_matrix._tcp.one.example")
        self.assertEqual(list(found), [ServiceRecord(10, 20, 8449, "two.example", 77)])

    async def test_a_service_that_is_decidedly_not_there(self) -> None:
        (record,) = await self.names.find_services("_matrix._tcp.none.example")
        self.assertEqual(record.target, "")

    async def test_names_without_records(self) -> None:
        self.assertEqual(list(await self.names.find_services("_matrix._tcp.empty.example")), [])
        self.assertEqual(list(await self.names.find_services("_matrix._tcp.else.example")), [])

    async def test_a_broken_server_is_told_from_an_empty_answer(self) -> None:
        with self.assertRaises(LookupFailed):
            await self.names.find_services("broken.example")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_addresses_come_from_the_system(self) -> None:
        self.assertIn(ip_address("127.0.0.1"), await self.names.find_addresses("localhost"))
