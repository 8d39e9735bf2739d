"""Whose address a request has: the peer's, or what a trusted proxy says."""

import ipaddress
from dataclasses import replace

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from popcube_server.rest.front_door.addresses import client_address
from popcube_server.rest.front_door.door import FrontDoor, JsonLimits

PROXIES = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

DOOR = FrontDoor(
    find_site=lambda host: None,
    x_forwarded=True,
    is_trusted_proxy=lambda peer: any(peer in network for network in PROXIES),
    is_served=lambda path: True,
    json_limits=JsonLimits(1000, 10, 1000),
    timer_s=lambda: 0.0,
    new_request_id=lambda: "test",
)


class ClientAddressTests(SynchronousTestCase):
    def address(self, peer: str, forwarded: str | None, x_forwarded: bool = True) -> str:
        request = Request(DummyChannel())
        request.client = (IPv6Address if ":" in peer else IPv4Address)("TCP", peer, 1234)
        if forwarded is not None:
            request.requestHeaders.setRawHeaders("X-Forwarded-For", [forwarded])
        return client_address(request, replace(DOOR, x_forwarded=x_forwarded))

    def test_proxy_is_believed_and_nobody_else(self) -> None:
        self.assertEqual(self.address("127.0.0.1", "203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.address("203.0.113.1", "203.0.113.9"), "203.0.113.1")
        self.assertEqual(self.address("127.0.0.1", "203.0.113.9", x_forwarded=False), "127.0.0.1")

    def test_proxy_is_known_on_a_socket_for_both_families(self) -> None:
        self.assertEqual(self.address("::ffff:127.0.0.1", "203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.address("::ffff:203.0.113.1", "203.0.113.9"), "::ffff:203.0.113.1")

    def test_what_the_client_made_up_is_not_believed(self) -> None:
        self.assertEqual(self.address("127.0.0.1", "10.0.0.1, 203.0.113.9"), "203.0.113.9")
        self.assertEqual(self.address("127.0.0.1", "nonsense"), "127.0.0.1")
