"""`Https` over real connections. `network.py` loads this when the first request is made."""

import ipaddress
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.error import Error as WebError
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from federation.transport.address_policy import AddressPolicy, IPAddress
from federation.transport.body_pipe import BodyPipe, StreamedResponse, StreamLimits
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits, Tls
from federation.transport.names import NameResolver
from federation.transport.route import Route, Target
from federation.transport.tls import is_ip_address
from federation.turns import FairTurns
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_ADDRESSES = 6
"""More addresses of one host than this are not tried."""
MAX_REQUESTS = 300
"""Requests under way at the same time; more wait for their turn."""
MAX_REQUESTS_OF_DOMAIN = 50
"""Of these to hosts of one domain: whoever has one has any number of names in it, and may answer slowly on all."""
MAX_IDLE_CONNECTIONS = 500
IDLE_CONNECTION_S = 60
CONNECT_TIMEOUT_S = 10.0
_BROKEN = (
    ConnectError,
    ConnectionClosed,
    OSError,
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    WebError,
    SSL.Error,
)
MAX_HEADER_BYTES = 256 * 1024
"""Everything before the body, and what came of the body together with the last of it."""


EndpointFor = Callable[[IPAddress, int], Any]
"""A TCP connection to be: twisted's IStreamClientEndpoint."""


def tcp_endpoints(reactor: Any) -> EndpointFor:
    """Real connections."""

    def endpoint_for(address: IPAddress, port: int) -> Any:
        kind = TCP4ClientEndpoint if isinstance(address, ipaddress.IPv4Address) else TCP6ClientEndpoint
        return kind(reactor, str(address), port, timeout=CONNECT_TIMEOUT_S)

    return endpoint_for


def tcp_client(reactor: Any, names: NameResolver, addresses: AddressPolicy, tls: Tls) -> "HttpsClient":
    """Over TCP, within the address ranges."""
    return HttpsClient(reactor, tcp_endpoints(reactor), names, addresses, tls)


class HttpsClient:
    """`Https` over real connections, kept for the next request to the same name and port."""

    def __init__(
        self,
        clock: IReactorTime,
        endpoint_for: EndpointFor,
        names: NameResolver,
        addresses: AddressPolicy,
        tls: Tls,
    ) -> None:
        self._clock = clock
        self._endpoint_for = endpoint_for
        self._names = names
        self._addresses = addresses
        self._tls = tls
        self._pool = _BoundedPool(clock)
        self._turns = FairTurns(MAX_REQUESTS, MAX_REQUESTS_OF_DOMAIN)

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        turn = self._turns.run(
            _domain_of(route.certificate_name), lambda: self._request(route, request, limits.max_bytes)
        )
        work = Deferred.fromCoroutine(turn)
        try:
            response: HttpResponse = await work.addTimeout(limits.timeout_s, self._clock)
        except DeferredTimeout:
            raise TransportError("no answer in time") from None
        return response

    async def stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        work = Deferred.fromCoroutine(self._stream(route, request, limits))
        try:
            return await work.addTimeout(limits.head_timeout_s, self._clock)
        except DeferredTimeout:
            raise TransportError("no answer in time") from None

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        await cast("Deferred[None]", self._pool.closeCachedConnections())  # type: ignore[no-untyped-call]

    async def _request(self, route: Route, request: HttpRequest, max_bytes: int) -> HttpResponse:
        exchange = self._exchange(route)
        try:
            response = await self._ask(exchange, route, request)
            data = await _read(response, max_bytes, exchange.connections)
        except (CancelledError, AnswerTooLarge):
            exchange.connections.abort()
            raise
        except _BROKEN as error:
            raise exchange.describe(error) from error
        return HttpResponse(response.code, _joined(response.headers), data)

    async def _stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        exchange = self._exchange(route)
        try:
            response = await self._ask(exchange, route, request)
            length = response.length if isinstance(response.length, int) else None
            if length is not None and length > limits.max_bytes:
                raise AnswerTooLarge("the answer is too large")
        except (CancelledError, AnswerTooLarge):
            exchange.connections.abort()
            raise
        except _BROKEN as error:
            raise exchange.describe(error) from error
        pipe = BodyPipe(self._clock, limits, exchange.connections.abort)
        response.deliverBody(_Piped(pipe))
        return StreamedResponse(response.code, _joined(response.headers), length, pipe)

    def _exchange(self, route: Route) -> "_Exchange":
        endpoint = _RouteEndpoint(route, self._endpoint_for, self._names, self._addresses, self._tls)
        return _Exchange(endpoint, _OneConnection(self._pool))

    async def _ask(self, exchange: "_Exchange", route: Route, request: HttpRequest) -> Any:
        agent = Agent.usingEndpointFactory(self._clock, _Always(exchange.endpoint), exchange.connections)
        # The host of this URL chooses the connection; where it leads is the endpoint's affair.
        name = route.certificate_name
        host = f"[{name}]" if ":" in name else name
        url = f"https://{host}:{route.targets[0].port}{request.uri}"
        headers = Headers({name: [value] for name, value in request.headers.items()})
        headers.setRawHeaders("Host", [route.host_header])
        body = None if request.body is None else _BytesBody(request.body)
        response = await agent.request(request.method.encode(), url.encode("ascii"), headers, body)
        exchange.connections.expects_headers = False
        return response


def _domain_of(host: str) -> str:
    """What one owner is taken to have: the last two labels of a name, or an address."""
    return host if is_ip_address(host) else ".".join(host.lower().rstrip(".").split(".")[-2:])


class _RouteEndpoint:
    """Connects to the first of a route's addresses that answers."""

    def __init__(
        self,
        route: Route,
        endpoint_for: EndpointFor,
        names: NameResolver,
        policy: AddressPolicy,
        tls: Tls,
    ) -> None:
        self._route = route
        self._endpoint_for = endpoint_for
        self._names = names
        self._policy = policy
        self._tls = tls
        self.was_unused = True
        """True as long as an older connection did."""

    def connect(self, factory: IProtocolFactory) -> "Deferred[Any]":
        self.was_unused = False
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        creator: Any = self._tls.connection_creator(self._route.certificate_name)
        reasons: list[str] = []
        for target in self._route.targets:
            for address in await self._find_addresses(target):
                # Checked is the very address that is connected to: a name that DNS answers differently a second time
                # gains nothing.
                if not self._policy.is_allowed(address):
                    reasons.append(f"the address {address} is refused")
                    continue
                endpoint: Any = wrapClientTLS(creator, self._endpoint_for(address, target.port))
                try:
                    return await endpoint.connect(factory)
                except ConnectError as error:
                    reasons.append(f"{address} port {target.port}: {type(error).__name__}")
        raise ConnectError(string="; ".join(reasons) or "the name has no address")

    async def _find_addresses(self, target: Target) -> Sequence[IPAddress]:
        try:
            return (ipaddress.ip_address(target.host),)
        except ValueError:
            return (await self._names.find_addresses(target.host))[:MAX_ADDRESSES]


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request: how it connects, and the connection that it got."""

    endpoint: "_RouteEndpoint"
    connections: "_OneConnection"

    def describe(self, error: BaseException) -> TransportError:
        was_stale = self.endpoint.was_unused and _is_clean_close(error)
        return TransportError(_describe(error), was_stale=was_stale)


class _BoundedPool(HTTPConnectionPool):
    """Idle connections: few for a host, and few altogether."""

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock)  # type: ignore[no-untyped-call]
        self.cachedConnectionTimeout = IDLE_CONNECTION_S
        # A request that met a stale connection is repeated by the caller, who knows whether it may be.
        self.retryAutomatically = False

    def _putConnection(self, key: Any, connection: Any) -> None:  # noqa: N802
        # twisted's pool bounds the connections of each host only, and has no other place to say more.
        if len(self._timeouts) >= MAX_IDLE_CONNECTIONS:
            connection.transport.loseConnection()
            return
        super()._putConnection(key, connection)  # type: ignore[no-untyped-call]

    def _removeConnection(self, key: Any, connection: Any) -> None:  # noqa: N802
        super()._removeConnection(key, connection)  # type: ignore[no-untyped-call]
        # An empty list per host that was ever spoken to would stay for good.
        if not self._connections.get(key):
            self._connections.pop(key, None)


class _OneConnection:
    """The pool as one request sees it; remembers which connection it got, and ends it if its headers never do."""

    persistent = True

    def __init__(self, pool: HTTPConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = None
        self._received_bytes = 0
        self.expects_headers = True

    def getConnection(self, key: Any, endpoint: Any) -> "Deferred[Any]":  # noqa: N802
        return self._pool.getConnection(key, endpoint).addCallback(self._remember)

    def _remember(self, connection: Any) -> Any:
        self._connection = connection

        # twisted bounds each line of the headers, and not how many there are.
        def receive(data: bytes) -> None:
            self._received_bytes += len(data)
            if self.expects_headers and self._received_bytes > MAX_HEADER_BYTES:
                self.abort()
            else:
                type(connection).dataReceived(connection, data)

        connection.dataReceived = receive
        return connection

    def abort(self) -> None:
        """End the connection without waiting for the other end to agree."""
        if self._connection is not None:
            self._connection.abort()


@implementer(IAgentEndpointFactory)
class _Always:
    def __init__(self, endpoint: _RouteEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> Any:  # noqa: N802
        return self._endpoint


class _Body(WireProtocol):
    """Collects a body up to a limit."""

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._chunks: list[bytes] = []
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room >= 0:
            self._chunks.append(data)
        elif not self.done.called:
            self._chunks.clear()
            self.done.errback(Failure(AnswerTooLarge("the answer is too large")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        # Without a Content-Length the end of the connection is the end of the body.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(reason)


class _Piped(WireProtocol):
    """Hands a body on as it comes."""

    def __init__(self, pipe: BodyPipe) -> None:
        self._pipe = pipe

    def connectionMade(self) -> None:
        self._pipe.attach(cast(Any, self.transport))

    def dataReceived(self, data: bytes) -> None:
        self._pipe.receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone):
            self._pipe.end()
        elif reason.check(PotentialDataLoss):
            # What is kept for long must be whole, and nothing said how long it is.
            self._pipe.end(TransportError("the answer may have been cut off: it has no length"))
        else:
            self._pipe.end(TransportError(_describe(cast(BaseException, reason.value))))


async def _read(response: Any, max_bytes: int, connection: _OneConnection) -> bytes:
    length = response.length
    if isinstance(length, int) and length > max_bytes:
        raise AnswerTooLarge("the answer is too large")
    body = _Body(max_bytes)
    response.deliverBody(body)
    return await body.done


@implementer(IBodyProducer)
class _BytesBody:
    """The body of a request, handed over at once: the connection holds it while it is sent.

    Not twisted's FileBodyProducer, which cannot bear a connection that breaks before it has begun to write.
    """

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing left to pause."""

    def resumeProducing(self) -> None:
        """There is nothing left to resume."""

    def stopProducing(self) -> None:
        """There is nothing left to stop."""


def _joined(headers: Headers) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): ",".join(value.decode("latin-1") for value in values)
        for name, values in headers.getAllRawHeaders()
    }


def _reasons(error: BaseException) -> list[BaseException]:
    if isinstance(error, RequestGenerationFailed | RequestTransmissionFailed | ResponseFailed):
        return [failure.value for failure in error.reasons]
    return [error]


def _is_clean_close(error: BaseException) -> bool:
    return all(isinstance(reason, ConnectionClosed) for reason in _reasons(error))


def _describe(error: BaseException) -> str:
    reasons = [f"{type(reason).__name__}: {reason}"[:200] for reason in _reasons(error)]
    return "; ".join(reasons) or type(error).__name__
