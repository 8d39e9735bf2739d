"""The edges of the transport, faked: DNS, HTTPS without sockets, and time."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from federation.transport.address_policy import IPAddress
from federation.transport.body_pipe import BodyPipe, StreamedResponse, StreamLimits
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, ResponseLimits
from federation.transport.names import LookupFailed, ServiceRecord
from federation.transport.route import Route

START_S = 1_700_000_000


def new_clock() -> Clock:
    clock = Clock()
    clock.advance(START_S)
    return clock


def json_response(value: object, status: int = 200, **headers: str) -> HttpResponse:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return HttpResponse(status, {"content-type": "application/json", **names}, orjson.dumps(value))


class FakeNames:
    """DNS in two dictionaries."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.services: dict[str, list[ServiceRecord] | None] = {}
        """None: the lookup fails."""
        self.asked: list[str] = []

    async def find_addresses(self, host: str) -> Sequence[IPAddress]:
        self.asked.append(host)
        return [ip_address(text) for text in self.addresses.get(host, ())]

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        self.asked.append(name)
        records = self.services.get(name, [])
        if records is None:
            raise LookupFailed(name)
        return records


Answering = Callable[[Route, HttpRequest], HttpResponse]


class FakeHttps:
    """Answers by the host that the certificate must be of; a TransportError where nobody is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.servers: dict[str, Answering | HttpResponse] = {}
        self.requests: list[tuple[Route, HttpRequest]] = []
        self.held: list[Deferred[None]] | None = None
        """A list: requests wait until one fires what is put there."""

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        self.requests.append((route, request))
        if self.held is not None:
            wait: Deferred[None] = Deferred()
            self.held.append(wait)
            await wait
        server = self.servers.get(route.certificate_name)
        if server is None:
            raise TransportError("nobody is there")
        response = server if isinstance(server, HttpResponse) else server(route, request)
        if len(response.body) > limits.max_bytes:
            raise AnswerTooLarge("the answer is too large")
        return response

    async def stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        response = await self.request(route, request, ResponseLimits(limits.head_timeout_s, limits.max_bytes))
        pipe = BodyPipe(self._clock, limits, lambda: None)
        pipe.receive(response.body)
        pipe.end()
        return StreamedResponse(response.status, response.headers, None, pipe)

    async def close(self) -> None:
        return

    @property
    def urls(self) -> list[str]:
        return [f"{route.host_header}{request.uri}" for route, request in self.requests]


def header_of(request: HttpRequest, name: str) -> str | None:
    headers: Mapping[str, str] = {key.lower(): value for key, value in request.headers.items()}
    return headers.get(name.lower())
