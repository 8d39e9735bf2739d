"""Requests whose answers are large: media. Nothing of them is in memory as a whole.

Read an answer until it gives nothing more, and close it in any case.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from federation.room_dag.canonical_json import decode_json
from federation.room_dag.identifiers import is_server_name
from federation.room_dag.signing import EventSigner
from federation.transport.back_off import BackOff
from federation.transport.body_pipe import StreamedResponse, StreamLimits
from federation.transport.errors import (
    AnswerIsTooLarge,
    AnswerTooLarge,
    HttpRefusal,
    InvalidAnswer,
    TransportError,
    Unreachable,
)
from federation.transport.federation_client import Sleep
from federation.transport.https import HttpRequest, Https
from federation.transport.https_url import join_url, parse_https_url
from federation.transport.server_requests import ServerRequests
from federation.transport.x_matrix import build_x_matrix

logger = logging.getLogger(__name__)

MAX_REDIRECTS = 3
MAX_ERROR_BYTES = 64 * 1024
MAX_RETRIES = 2
FIRST_RETRY_DELAY_S = 0.5
REDIRECTS = frozenset((301, 302, 303, 307, 308))
_ACCEPT = {"Accept": "multipart/mixed, */*"}


class AnswerStream:
    """A success whose body is read piece by piece, and closed by who reads it. Header names are in lower case."""

    def __init__(self, destination: str, response: StreamedResponse) -> None:
        self._destination = destination
        self._body = response.body
        self.status = response.status
        self.headers = response.headers
        self.length_bytes = response.length_bytes

    async def read(self) -> bytes:
        """The next piece; nothing at the end. Raises `Unreachable`, or `InvalidAnswer` for too much."""
        try:
            return await self._body.read()
        except TransportError as error:
            raise Unreachable(self._destination, str(error)) from error
        except AnswerTooLarge as error:
            raise AnswerIsTooLarge(self._destination, str(error)) from error

    def close(self) -> None:
        """Nothing more is wanted. To be called in any case; the second time does nothing."""
        self._body.close()


class StreamingClient:
    """Asks other servers for files. Raises what `FederationClient` raises; a body that breaks off is no reason for
    back-off, and neither is a 5xx with an error code: that is how a server says that a file is not there yet.
    """

    def __init__(
        self,
        signer: EventSigner,
        requests: ServerRequests,
        https: Https,
        user_agent: str,
        back_off: BackOff,
        clock: Any,
        sleep: Sleep,
    ) -> None:
        """`clock` is twisted's IReactorTime."""
        self._signer = signer
        self._requests = requests
        self._https = https
        self._user_agent = user_agent
        self._back_off = back_off
        self._clock = clock
        self._sleep = sleep

    async def get_signed(
        self, destination: str, path: str, query: Mapping[str, str], limits: StreamLimits
    ) -> AnswerStream:
        """In this server's name. Redirects are refusals: nothing signed is sent elsewhere."""
        uri = _uri(path, query)
        authorization = build_x_matrix(self._signer, destination, "GET", uri, None)
        request = HttpRequest("GET", uri, {"Authorization": authorization, **_ACCEPT})
        response = await self._get(destination, request, limits)
        if response.status != 200:
            raise await read_refusal(destination, response)
        return AnswerStream(destination, response)

    async def get_open(
        self, destination: str, path: str, query: Mapping[str, str], limits: StreamLimits
    ) -> AnswerStream:
        """In nobody's name. Redirects are followed."""
        response = await self._get(destination, HttpRequest("GET", _uri(path, query), _ACCEPT), limits)
        if response.status in REDIRECTS and "location" in response.headers:
            response.body.close()
            return await self.get_url(destination, response.headers["location"], limits)
        if response.status != 200:
            raise await read_refusal(destination, response)
        return AnswerStream(destination, response)

    async def get_url(self, destination: str, url: str, limits: StreamLimits) -> AnswerStream:
        """From wherever `destination` says that its file is; only https, and only to addresses that are allowed."""
        try:
            response = await self._in_time(destination, limits, lambda: self._follow(url, limits))
        except TransportError as error:
            raise Unreachable(destination, f"sends us where there is no answer: {error}") from error
        except AnswerTooLarge as error:
            raise AnswerIsTooLarge(destination, str(error)) from error
        except ValueError as error:
            raise InvalidAnswer(destination, str(error)) from error
        if response.status != 200:
            response.body.close()
            raise InvalidAnswer(destination, f"sends us where the answer is {response.status}")
        return AnswerStream(destination, response)

    async def _follow(self, url: str, limits: StreamLimits) -> StreamedResponse:
        for _ in range(MAX_REDIRECTS + 1):
            route, uri = parse_https_url(url)
            request = HttpRequest("GET", uri, {"User-Agent": self._user_agent, "Accept": "*/*"})
            response = await self._https.stream(route, request, limits)
            if response.status not in REDIRECTS or "location" not in response.headers:
                return response
            response.body.close()
            url = join_url(url, response.headers["location"])
        raise ValueError("sends us from one place to the next")

    async def _get(self, destination: str, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        if not is_server_name(destination):
            raise Unreachable(destination[:255], "is not a server name")
        await self._back_off.check(destination)
        try:
            response = await self._in_time(
                destination, limits, lambda: self._try(destination, request, limits)
            )
        except Unreachable:
            await self._back_off.failed(destination)
            raise
        except InvalidAnswer:
            await self._back_off.answered(destination)
            raise
        if response.status >= 500:
            raise await self._refused(destination, response)
        await self._back_off.answered(destination)
        return response

    async def _refused(self, destination: str, response: StreamedResponse) -> HttpRefusal:
        refusal = await read_refusal(destination, response)
        if refusal.errcode is None:
            await self._back_off.failed(destination)
        else:
            await self._back_off.answered(destination)
        return refusal

    async def _try(self, destination: str, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        delay_s = FIRST_RETRY_DELAY_S
        for _ in range(MAX_RETRIES):
            try:
                return await self._requests.stream(destination, request, limits)
            except Unreachable as error:
                logger.debug("Trying again in %.1f s: %s", delay_s, error)
            await self._sleep(delay_s)
            delay_s *= 2
        return await self._requests.stream(destination, request, limits)

    async def _in_time(
        self,
        destination: str,
        limits: StreamLimits,
        work: Callable[[], Coroutine[Any, Any, StreamedResponse]],
    ) -> StreamedResponse:
        try:
            return await Deferred.fromCoroutine(work()).addTimeout(limits.head_timeout_s, self._clock)
        except DeferredTimeout:
            raise Unreachable(destination, "no answer in time") from None


async def read_refusal(destination: str, response: StreamedResponse) -> HttpRefusal:
    """What an answer with an error status says, as far as it can be read."""
    data = b""
    try:
        while len(data) < MAX_ERROR_BYTES and (piece := await response.body.read()):
            data += piece
    except (TransportError, AnswerTooLarge) as error:
        logger.debug("The error of %s broke off: %s", destination, error)
    finally:
        response.body.close()
    try:
        body = decode_json(data[:MAX_ERROR_BYTES])
    except ValueError:
        body = None
    return HttpRefusal(destination, response.status, body if isinstance(body, dict) else {})


def _uri(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
