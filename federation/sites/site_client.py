"""Requests to one peer site, over the link's own connections.

They are signed like any server's requests, with the site's key and in the name of the one server that all sites are;
the certificates on both ends are pinned. Besides the link's own paths a peer answers what it answers other servers:
events, states, missing events.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from federation.room_dag.canonical_json import decode_json, encode_lenient
from federation.room_dag.signing import EventSigner
from federation.sites.batch import VERSION, Acknowledgement
from federation.sites.peer import PeerCursor, PeerUnreachable
from federation.transport.body_pipe import StreamLimits
from federation.transport.errors import (
    AnswerIsTooLarge,
    AnswerTooLarge,
    HttpRefusal,
    InvalidAnswer,
    TransportError,
    Unreachable,
)
from federation.transport.federation_client import Body, Query
from federation.transport.https import HttpRequest, HttpResponse, Https, ResponseLimits
from federation.transport.route import Route, Target
from federation.transport.streaming_client import AnswerStream, read_refusal
from federation.transport.x_matrix import build_x_matrix

LINK: Final = "/_popcube/sites/v1/"
TIMEOUT_S: Final = 60.0
CURSOR_TIMEOUT_S: Final = 5.0
BATCH_TIMEOUT_S: Final = 10.0
"""A connection of which the other end is gone without a word looks like a slow one; this is how long it may look so.
A peer that is slow has more time than this: the link makes its batches smaller."""
MAX_ANSWER_BYTES: Final = 200 * 1024 * 1024
"""The state of a large room; a peer is trusted not to mean harm."""


class SiteClient:
    """`RemoteServers` for what asks about rooms; the destination that is given there is not looked at.

    All raise `FederationError`.
    """

    def __init__(self, peer: str, url: str, signer: EventSigner, https: Https) -> None:
        """`url` is scheme, host and port."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.peer = peer
        self._signer = signer
        self._https = https
        target = Target(parts.hostname, parts.port or 443)
        self._route = Route((target,), parts.netloc, parts.hostname)

    async def get(self, destination: str, path: str, query: Query | None = None) -> dict[str, Any]:
        return await self._request("GET", path, query, None)

    async def put(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]:
        return await self._request("PUT", path, query, body)

    async def post(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]:
        return await self._request("POST", path, query, body)

    async def delete(self, path: str) -> dict[str, Any]:
        return await self._request("DELETE", path, None, None)

    async def ask_within(
        self, timeout_s: float, method: str, path: str, query: Query | None, body: bytes | None
    ) -> dict[str, Any]:
        """For what the links themselves ask, who have little patience."""
        return await self._request(method, path, query, body, timeout_s)

    async def get_bytes(self, path: str, query: Query | None = None) -> bytes:
        """An answer that is no JSON."""
        response = await self._send(self._signed("GET", path, query, None))
        if response.status != 200:
            raise HttpRefusal(self.peer, response.status, self._json(response))
        return response.body

    async def stream(self, path: str, query: Query, limits: StreamLimits) -> AnswerStream:
        """A large answer, to be read piece by piece and closed."""
        request = self._signed("GET", path, query, None)
        try:
            try:
                response = await self._https.stream(self._route, request, limits)
            except TransportError as error:
                if not error.was_stale:
                    raise
                response = await self._https.stream(self._route, request, limits)
        except TransportError as error:
            raise Unreachable(self.peer, str(error)) from error
        except AnswerTooLarge as error:
            raise AnswerIsTooLarge(self.peer, str(error)) from error
        if response.status != 200:
            raise await read_refusal(self.peer, response)
        return AnswerStream(self.peer, response)

    async def _request(
        self, method: str, path: str, query: Query | None, body: Body | None, timeout_s: float = TIMEOUT_S
    ) -> dict[str, Any]:
        response = await self._send(self._signed(method, path, query, body), timeout_s)
        answer = self._json(response)
        if not 200 <= response.status < 300:
            raise HttpRefusal(self.peer, response.status, answer)
        return answer

    def _signed(self, method: str, path: str, query: Query | None, body: Body | None) -> HttpRequest:
        uri = path if not query else f"{path}?{urlencode(query, doseq=True)}"
        content = body if isinstance(body, bytes) or body is None else encode_lenient(body)
        header = build_x_matrix(self._signer, self._signer.server_name, method, uri, content)
        headers = {"Authorization": header}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return HttpRequest(method, uri, headers, content)

    async def _send(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        limits = ResponseLimits(timeout_s, MAX_ANSWER_BYTES)
        try:
            try:
                return await self._https.request(self._route, request, limits)
            except TransportError as error:
                # Everything that sites ask of each other may be asked twice.
                if not error.was_stale:
                    raise
                return await self._https.request(self._route, request, limits)
        except TransportError as error:
            raise Unreachable(self.peer, str(error)) from error
        except AnswerTooLarge as error:
            raise InvalidAnswer(self.peer, str(error)) from error

    def _json(self, response: HttpResponse) -> dict[str, Any]:
        try:
            answer = decode_json(response.body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise InvalidAnswer(self.peer, f"the answer {response.status} is not a JSON object")
        return answer


class LinkClient:
    """`PeerSite` over a `SiteClient`."""

    def __init__(self, client: SiteClient, own_log: str) -> None:
        self._client = client
        self._own_log = own_log

    async def get_cursor(self) -> PeerCursor:
        query = {"log": self._own_log}
        answer = await self._ask(CURSOR_TIMEOUT_S, "GET", LINK + "cursor", query, None)
        log = answer.get("log")
        if not isinstance(log, str):
            raise PeerUnreachable("the answer does not name a log")
        versions = answer.get("versions", [VERSION])
        if not isinstance(versions, list) or VERSION not in versions:
            raise PeerUnreachable(
                f"it reads versions {versions} of what is sent, and this site writes {VERSION}"
            )
        return PeerCursor(_number(answer, "position"), log)

    async def send(self, batch: bytes) -> Acknowledgement:
        answer = await self._ask(BATCH_TIMEOUT_S, "POST", LINK + "changes", None, batch)
        return Acknowledgement(_number(answer, "position"), _number(answer, "at"))

    async def _ask(
        self, timeout_s: float, method: str, path: str, query: Query | None, body: bytes | None
    ) -> Mapping[str, Any]:
        try:
            return await self._client.ask_within(timeout_s, method, path, query, body)
        except (Unreachable, HttpRefusal, InvalidAnswer) as error:
            raise PeerUnreachable(str(error)) from error


def _number(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise PeerUnreachable(f"the answer has no {name}")
    return value
