"""`Https` whose client is made with the first request."""

from collections.abc import Callable

from federation.transport.body_pipe import StreamedResponse, StreamLimits
from federation.transport.https import HttpRequest, HttpResponse, Https, ResponseLimits
from federation.transport.route import Route


class LateHttps:
    def __init__(self, make_client: Callable[[], Https]) -> None:
        self._make_client = make_client
        self._made: Https | None = None

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        return await self._client().request(route, request, limits)

    async def stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        return await self._client().stream(route, request, limits)

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    def _client(self) -> Https:
        if self._made is None:
            self._made = self._make_client()
        return self._made
