"""Real connections to real TLS servers on 127.0.0.x, with an authority that the test makes."""

import datetime as dt
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet import reactor as _installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from federation.transport.address_policy import AddressPolicy, IPAddress
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.https_client import HttpsClient
from federation.transport.route import Route, Target
from federation.transport.tls import TlsPolicy
from synapse_like_config.federation import DEFAULT_IP_RANGE_BLACKLIST
from tests.federation.transport.fakes import FakeNames

reactor: Any = _installed_reactor
NAME = "one.example"
LIMITS = ResponseLimits(timeout_s=5, max_bytes=1000)
GET = HttpRequest("GET", "/a?b=c")
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class Authority:
    """Makes certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"test authority {x509.random_serial_number()}"[:60])]
        )
        self.certificate = self._builder(self._name, self._key.public_key(), is_authority=True).sign(
            self._key, hashes.SHA256()
        )

    def _builder(self, subject: x509.Name, key: Any, *, is_authority: bool) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )

    def write(self, path: Path) -> Path:
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, *names: str) -> PrivateCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = (
            self._builder(subject, key.public_key(), is_authority=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return PrivateCertificate.loadPEM(pem)


class Pages(Resource):
    """Answers what its function writes; remembers who was asked for."""

    isLeaf = True

    def __init__(self, write: Callable[[Request], bytes | int]) -> None:
        super().__init__()
        self._write = write
        self.hosts: list[str] = []
        self.lost: list[Deferred[None]] = []

    def render(self, request: Request) -> bytes | int:
        self.hosts.append(request.getHeader("host") or "")
        lost: Deferred[None] = Deferred()
        request.notifyFinish().addBoth(lambda _: lost.callback(None))
        self.lost.append(lost)
        return self._write(request)


def hello(request: Request) -> bytes:
    return b"hello " + (request.content.read() if request.content else b"")


def abort(request: Any) -> int:
    request.transport.abortConnection()
    return NOT_DONE_YET


class TlsCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.authority = Authority()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority_path = self.authority.write(self.directory / "ca.pem")
        self.names = FakeNames()
        self.names.addresses[NAME] = ["127.0.0.1"]
        self.connected: list[str] = []
        self.sni: list[bytes | None] = []

    def make_client(self, **options: Any) -> HttpsClient:
        tls = TlsPolicy(
            options.get("authorities", [self.authority_path]),
            options.get("minimum_version", "1.2"),
            verify=options.get("verify", True),
            unverified_names=options.get("unverified_names", ()),
        )
        policy = AddressPolicy(DEFAULT_IP_RANGE_BLACKLIST, options.get("excepted", [LOOPBACK]))

        def endpoint_for(address: IPAddress, port: int) -> Any:
            self.connected.append(str(address))
            return TCP4ClientEndpoint(reactor, str(address), port, timeout=2)

        client = HttpsClient(reactor, endpoint_for, self.names, policy, tls)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def listen(
        self, site: Any, certificate: PrivateCertificate, interface: str = "127.0.0.1", **tls: Any
    ) -> int:
        options = CertificateOptions(
            privateKey=certificate.privateKey.original, certificate=certificate.original, **tls
        )
        options.getContext().set_tlsext_servername_callback(
            lambda connection: self.sni.append(connection.get_servername())
        )
        port = reactor.listenSSL(0, site, options, interface=interface)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def serve(self, write: Callable[[Request], bytes | int] = hello, *names: str) -> int:
        self.pages = Pages(write)
        return self.listen(Site(self.pages), self.authority.issue(*(names or (NAME,))))

    def route(self, port: int, name: str = NAME) -> Route:
        return Route((Target(name, port),), f"{name}:{port}", name)

    async def ask(
        self,
        client: HttpsClient,
        route: Route,
        request: HttpRequest = GET,
        limits: ResponseLimits = LIMITS,
    ) -> HttpResponse:
        return await client.request(route, request, limits)

    async def assert_fails(self, client: HttpsClient, route: Route, reason: str = "") -> None:
        with self.assertRaises(TransportError) as caught:
            await self.ask(client, route)
        self.assertIn(reason, str(caught.exception))


class CertificateTests(TlsCase):
    async def test_right_certificate_is_accepted_and_its_name_is_asked_for(self) -> None:
        client, port = self.make_client(), self.serve()
        response = await self.ask(client, self.route(port), HttpRequest("PUT", "/x", {}, b"world"))
        self.assertEqual((response.status, response.body), (200, b"hello world"))
        self.assertEqual(self.sni, [NAME.encode()])
        self.assertEqual(self.pages.hosts, [f"{NAME}:{port}"])

    async def test_connection_is_used_again(self) -> None:
        client, port = self.make_client(), self.serve()
        for _ in range(3):
            await self.ask(client, self.route(port))
        self.assertEqual(self.connected, ["127.0.0.1"])

    async def test_certificate_of_another_name_is_refused_before_anything_is_sent(self) -> None:
        client, port = self.make_client(), self.serve(hello, "two.example", "*.one.example")
        await self.assert_fails(client, self.route(port))
        self.assertEqual(self.pages.hosts, [])

    async def test_certificate_of_an_unknown_authority_is_refused(self) -> None:
        port = self.serve()
        other = Authority().write(self.directory / "other.pem")
        await self.assert_fails(self.make_client(authorities=[other]), self.route(port))
        await self.assert_fails(self.make_client(authorities=[]), self.route(port))
        self.assertEqual(self.pages.hosts, [])

    async def test_several_authorities_in_one_file(self) -> None:
        both = self.directory / "both.pem"
        other = Authority().write(self.directory / "other.pem")
        both.write_bytes(other.read_bytes() + self.authority_path.read_bytes())
        await self.ask(self.make_client(authorities=[both]), self.route(self.serve()))

    def test_file_without_certificates_is_an_error(self) -> None:
        path = self.directory / "empty.pem"
        path.write_text("nothing")
        self.assertRaises(ValueError, self.make_client, authorities=[path])
        self.assertRaises(OSError, self.make_client, authorities=[self.directory / "none"])

    async def test_certificate_of_an_address_without_sni(self) -> None:
        client, port = self.make_client(), self.serve(hello, "127.0.0.1")
        await self.ask(client, self.route(port, "127.0.0.1"))
        self.assertEqual(self.sni, [None])
        other = self.serve(hello, NAME)
        await self.assert_fails(client, self.route(other, "127.0.0.1"))

    async def test_verification_can_be_turned_off_for_all_or_some(self) -> None:
        port = self.serve(hello, "wrong.example")
        await self.ask(self.make_client(verify=False, authorities=[]), self.route(port))
        await self.ask(self.make_client(unverified_names=["*.EXAMPLE"]), self.route(port))
        await self.assert_fails(self.make_client(unverified_names=["two.example"]), self.route(port))

    async def test_old_versions_of_tls_are_refused(self) -> None:
        self.pages = Pages(hello)
        port = self.listen(Site(self.pages), self.authority.issue(NAME))
        await self.ask(self.make_client(minimum_version="1.3"), self.route(port))
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        certificate = self.authority.issue(NAME)
        context.use_privatekey(certificate.privateKey.original)
        context.use_certificate(certificate.original)
        old = reactor.listenSSL(0, Site(self.pages), _Fixed(context), interface="127.0.0.1")
        self.addCleanup(old.stopListening)
        await self.ask(self.make_client(), self.route(old.getHost().port))
        await self.assert_fails(self.make_client(minimum_version="1.3"), self.route(old.getHost().port))


@implementer(IOpenSSLContextFactory)
class _Fixed:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:
        return self._context


class AddressTests(TlsCase):
    async def test_refused_addresses_are_not_connected_to(self) -> None:
        client, port = self.make_client(excepted=[]), self.serve()
        await self.assert_fails(client, self.route(port), "the address 127.0.0.1 is refused")
        await self.assert_fails(client, self.route(port, "127.0.0.1"), "refused")
        self.assertEqual(self.connected, [])

    async def test_the_address_that_was_checked_is_the_one_that_is_used(self) -> None:
        client = self.make_client(excepted=[ipaddress.ip_network("127.0.0.1/32")])
        port = self.serve()
        self.names.addresses[NAME] = ["10.0.0.1", "127.0.0.2", "127.0.0.1"]
        await self.ask(client, self.route(port))
        self.assertEqual(self.connected, ["127.0.0.1"])
        self.assertEqual(self.names.asked, [NAME])

    async def test_the_next_address_is_tried_if_one_does_not_answer(self) -> None:
        client, port = self.make_client(), self.serve()
        self.names.addresses["down.example"] = ["127.0.0.7"]
        route = Route((Target("down.example", 1), Target(NAME, port)), NAME, NAME)
        await self.ask(client, route)
        self.assertEqual(self.connected, ["127.0.0.7", "127.0.0.1"])

    async def test_name_without_addresses(self) -> None:
        await self.assert_fails(self.make_client(), self.route(1, "none.example"), "no address")


class HostileAnswerTests(TlsCase):
    async def test_endless_body_is_cut_off(self) -> None:
        def endless(request: Request) -> int:
            def more() -> None:
                if not request._disconnected:
                    request.write(b"x" * 500)
                    reactor.callLater(0, more)

            more()
            return NOT_DONE_YET

        client, port = self.make_client(), self.serve(endless)
        with self.assertRaises(AnswerTooLarge):
            await self.ask(client, self.route(port))
        await self.pages.lost[0]

    async def test_headers_without_end_are_cut_off(self) -> None:
        lost: Deferred[None] = Deferred()

        class Chatter(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.write(b"HTTP/1.1 200 OK\r\n")
                self.more()

            def more(self) -> None:
                if self.connected:
                    self.transport.write(b"X-Header: " + b"x" * 10_000 + b"\r\n")
                    reactor.callLater(0, self.more)

            def connectionLost(self, reason: Any = None) -> None:
                self.connected = 0
                lost.callback(None)

        client = self.make_client()
        port = self.listen(Factory.forProtocol(Chatter), self.authority.issue(NAME))
        await self.assert_fails(client, self.route(port), "ConnectionAborted")
        await lost

    async def test_body_that_is_announced_as_too_large_is_not_read(self) -> None:
        def large(request: Request) -> int:
            request.setHeader("Content-Length", "1001")
            request.write(b"x")
            return NOT_DONE_YET

        client, port = self.make_client(), self.serve(large)
        with self.assertRaises(AnswerTooLarge):
            await self.ask(client, self.route(port))
        await self.pages.lost[0]

    async def test_silent_server_is_given_up(self) -> None:
        client, port = self.make_client(), self.serve(lambda request: NOT_DONE_YET)
        with self.assertRaises(TransportError):
            await self.ask(client, self.route(port), limits=ResponseLimits(0.2, 1000))
        await self.pages.lost[0]

    async def test_server_that_stops_in_the_middle_is_given_up(self) -> None:
        def stop(request: Request) -> int:
            request.setHeader("Content-Length", "100")
            request.write(b"x")
            return abort(request)

        client, port = self.make_client(), self.serve(stop)
        await self.assert_fails(client, self.route(port))

    async def test_what_speaks_no_tls_is_given_up(self) -> None:
        plain = reactor.listenTCP(0, Site(Pages(hello)), interface="127.0.0.1")
        self.addCleanup(plain.stopListening)
        with self.assertRaises(TransportError):
            await self.ask(
                self.make_client(), self.route(plain.getHost().port), limits=ResponseLimits(0.2, 1000)
            )

    async def test_connection_that_was_closed_meanwhile_is_told_from_a_broken_one(self) -> None:
        client, port = self.make_client(), self.serve()
        await self.ask(client, self.route(port))
        self.pages._write = abort
        with self.assertRaises(TransportError) as caught:
            await self.ask(client, self.route(port))
        self.assertTrue(caught.exception.was_stale)
        with self.assertRaises(TransportError) as caught:
            await self.ask(client, self.route(port))
        self.assertFalse(caught.exception.was_stale)

    async def test_redirects_are_not_followed(self) -> None:
        def redirect(request: Request) -> bytes:
            request.redirect(b"https://two.example/")
            return b""

        client, port = self.make_client(), self.serve(redirect)
        response = await self.ask(client, self.route(port))
        self.assertEqual((response.status, response.headers["location"]), (302, "https://two.example/"))
        self.assertEqual(len(self.pages.hosts), 1)
