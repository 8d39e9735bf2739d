"""A network without sockets: requests go to organisations of the same process, and to servers that a test writes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.client import FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from federation.transport.address_policy import IPAddress
from federation.transport.body_pipe import BodyPipe, StreamedResponse, StreamLimits
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.names import ServiceRecord
from federation.transport.network import Network
from federation.transport.route import Route

FarServer = Callable[[Route, HttpRequest], "HttpResponse | Deferred[HttpResponse]"]
PIECE_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class FarAnswer:
    """An answer that comes in pieces. The body may raise `TransportError`; at None it stops, and says no more."""

    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes | None]


FarStreams = Callable[[Route, HttpRequest], FarAnswer]


class _Feed:
    """Pushes the pieces of a body while they are wanted."""

    def __init__(self, body: Iterator[bytes | None], pipe: BodyPipe) -> None:
        self._body = body
        self._pipe = pipe
        self._paused = False
        self._pushing = False
        pipe.attach(self)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.push()

    def push(self) -> None:
        if self._pushing:
            return
        self._pushing = True
        try:
            while not self._paused:
                piece = next(self._body, b"")
                if piece is None:
                    return
                if not piece:
                    self._pipe.end()
                    return
                self._pipe.receive(piece)
        except TransportError as error:
            self._pipe.end(error)
        finally:
            self._pushing = False

    def abort(self) -> None:
        self._paused = True


class LoopNetwork:
    """`network` is what an organisation is built with. Nobody is there but who is named."""

    def __init__(self, is_here: Callable[[str], bool], cooperator: Any, clock: Any) -> None:
        self._is_here = is_here
        self._clock = clock
        self._cooperator = cooperator
        self._root: Any = None
        self._agents: list[RequestTraversalAgent] = []
        self.far_servers: dict[str, FarServer] = {}
        """By host, without port: what answers there. It may raise `TransportError`."""
        self.far_streams: dict[str, FarStreams] = {}
        """The same for answers that come in pieces, where one is asked for."""
        self.down: set[str] = set()
        """Hosts that do not answer at the moment."""
        self.silent: set[str] = set()
        """Hosts that take a request and never answer."""
        self._link_hosts: frozenset[str] = frozenset()
        self.requests: list[tuple[str, str, str]] = []
        """Everything that was sent: Host header, method, path and query."""
        self.observe: Callable[[HttpRequest, HttpResponse], None] = lambda request, response: None
        """Sees what organisations of this process answer each other."""
        self.network = Network(self, self)

    def give_sites(self, hosts: Iterable[str]) -> None:
        """The sites of an organisation reach each other by these host names."""
        self._link_hosts = frozenset(hosts)

    def connect(self, root: Any) -> None:
        """Requests to organisations go to this front door."""
        self._root = root

    def flush(self) -> None:
        """Move what is under way."""
        for agent in list(self._agents):
            agent.flush()

    # Https

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        response = await self._answer(route, request)
        if len(response.body) > limits.max_bytes:
            raise AnswerTooLarge("the answer is too large")
        return response

    async def stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        far = self.far_streams.get(route.certificate_name)
        if far is not None and route.certificate_name not in self.down:
            self.requests.append((route.host_header, request.method, request.uri))
            answer = far(route, request)
        else:
            response = await self._answer(route, request)
            data = response.body
            pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
            answer = FarAnswer(response.status, response.headers, pieces)
        text = answer.headers.get("content-length", "")
        length = int(text) if text.isdigit() else None
        if length is not None and length > limits.max_bytes:
            raise AnswerTooLarge("the answer is too large")
        pipe = BodyPipe(self._clock, limits, lambda: feed.abort())
        feed = _Feed(answer.body, pipe)
        feed.push()
        return StreamedResponse(answer.status, answer.headers, length, pipe)

    async def close(self) -> None:
        return

    async def _answer(self, route: Route, request: HttpRequest) -> HttpResponse:
        host = route.certificate_name
        self.requests.append((route.host_header, request.method, request.uri))
        if host in self.down:
            raise TransportError("is down")
        if host in self.silent:
            await Deferred()
        far = self.far_servers.get(host)
        if far is not None:
            answer = far(route, request)
            return await answer if isinstance(answer, Deferred) else answer
        if (host in self._link_hosts or self._is_here(host)) and self._root is not None:
            response = await self._traverse(self._root, route, request)
            self.observe(request, response)
            return response
        raise TransportError("nobody is there")

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
