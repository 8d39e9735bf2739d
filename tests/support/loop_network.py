"""A network without sockets: requests go to organisations of the same process, and to servers that a test writes."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from federation.transport.address_policy import IPAddress
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.names import ServiceRecord
from federation.transport.network import Network
from federation.transport.route import Route

FarServer = Callable[[Route, HttpRequest], HttpResponse]


class LoopNetwork:
    """`network` is what an organisation is built with. Nobody is there but who is named."""

    def __init__(self, is_here: Callable[[str], bool], cooperator: Any) -> None:
        self._is_here = is_here
        self._cooperator = cooperator
        self._root: Any = None
        self._agents: list[RequestTraversalAgent] = []
        self.far_servers: dict[str, FarServer] = {}
        """By host, without port: what answers there. It may raise `TransportError`."""
        self.down: set[str] = set()
        """Hosts that do not answer at the moment."""
        self.silent: set[str] = set()
        """Hosts that take a request and never answer."""
        self.requests: list[tuple[str, str, str]] = []
        """Everything that was sent: Host header, method, path and query."""
        self.network = Network(self, self)

    def connect(self, root: Any) -> None:
        """Requests to organisations go to this front door."""
        self._root = root

    def flush(self) -> None:
        """Move what is under way."""
        for agent in list(self._agents):
            agent.flush()

    # Https

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        host = route.certificate_name
        self.requests.append((route.host_header, request.method, request.uri))
        if host in self.down:
            raise TransportError("is down")
        if host in self.silent:
            await Deferred()
        far = self.far_servers.get(host)
        if far is not None:
            response = far(route, request)
        elif self._is_here(host) and self._root is not None:
            response = await self._traverse(self._root, route, request)
        else:
            raise TransportError("nobody is there")
        if len(response.body) > limits.max_bytes:
            raise AnswerTooLarge("the answer is too large")
        return response

    async def close(self) -> None:
        return

    async def _traverse(self, root: Any, route: Route, request: HttpRequest) -> HttpResponse:
        agent = RequestTraversalAgent(root)
        self._agents.append(agent)
        headers = Headers({name: [value] for name, value in request.headers.items()})
        headers.setRawHeaders("Host", [route.host_header])
        producer = (
            None
            if request.body is None
            else FileBodyProducer(BytesIO(request.body), cooperator=self._cooperator)
        )
        url = f"https://{route.host_header}{request.uri}"
        pending = agent.request(request.method.encode(), url.encode(), headers, producer)
        agent.flush()
        response = await pending
        reading = readBody(response)
        agent.flush()
        body = await reading
        self._agents.remove(agent)
        names = {
            name.decode().lower(): b",".join(values).decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        return HttpResponse(response.code, names, body)

    # NameResolver

    async def find_addresses(self, host: str) -> Sequence[IPAddress]:
        return ()

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        return ()
