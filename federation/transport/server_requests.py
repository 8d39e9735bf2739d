"""A request to a server by its name: is it allowed, where is it, what did it say."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from federation.transport.allowed_servers import AllowedServers
from federation.transport.body_pipe import StreamedResponse, StreamLimits
from federation.transport.discovery import Discovery
from federation.transport.errors import AnswerIsTooLarge, AnswerTooLarge, TransportError, Unreachable
from federation.transport.https import HttpRequest, HttpResponse, Https, ResponseLimits
from federation.transport.route import Route

T = TypeVar("T")


class ServerRequests:
    """Unsigned requests without back-off: what key fetching needs, and what `FederationClient` stands on."""

    def __init__(self, allowed: AllowedServers, discovery: Discovery, https: Https, user_agent: str) -> None:
        self._allowed = allowed
        self._discovery = discovery
        self._https = https
        self._user_agent = user_agent

    async def send(self, destination: str, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        """The answer, of whatever status. Raises `NotFederated`, `Unreachable` or `InvalidAnswer`."""
        return await self._send(
            destination, request, lambda route, sent: self._https.request(route, sent, limits)
        )

    async def stream(self, destination: str, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        """The same for an answer that is large. What reading it raises is of this package: see `StreamingClient`."""
        return await self._send(
            destination, request, lambda route, sent: self._https.stream(route, sent, limits)
        )

    async def _send(
        self,
        destination: str,
        request: HttpRequest,
        send: Callable[[Route, HttpRequest], Coroutine[Any, Any, T]],
    ) -> T:
        self._allowed.check_destination(destination)
        route = await self._discovery.find_route(destination)
        headers = {"User-Agent": self._user_agent, "Accept": "application/json", **request.headers}
        request = HttpRequest(request.method, request.uri, headers, request.body)
        try:
            try:
                return await send(route, request)
            except TransportError as error:
                # Whether the other end got the request before it closed an idle connection is not known: what may be
                # done twice is sent again, once, over a new connection.
                if not error.was_stale or request.method == "POST":
                    raise
                return await send(route, request)
        except TransportError as error:
            raise Unreachable(destination, str(error)) from error
        except AnswerTooLarge as error:
            raise AnswerIsTooLarge(destination, str(error)) from error
