"""One HTTPS request to a route, and its answer, within limits of time and size. Redirects are answers like others."""

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from federation.transport.body_pipe import StreamedResponse, StreamLimits
from federation.transport.route import Route
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`uri` is path and query as they go over the wire, in ASCII."""

    method: str
    uri: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Header names are in lower case; of a repeated header the values are joined with commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """How long everything may take, and how large the body may be."""

    timeout_s: float
    max_bytes: int


class Https(Protocol):
    """What the rest of this package sends requests with; tests have one without sockets."""

    async def request(self, route: Route, request: HttpRequest, limits: ResponseLimits) -> HttpResponse:
        """Raises `TransportError`, or `AnswerTooLarge`."""

    async def stream(self, route: Route, request: HttpRequest, limits: StreamLimits) -> StreamedResponse:
        """An answer whose body the caller reads, and closes. Raises `TransportError`, or `AnswerTooLarge`.

        How many there are at a time is the caller's affair: large files must not keep requests waiting.
        """

    async def close(self) -> None:
        """Close the connections that nobody uses."""


class Tls(Protocol):
    """`TlsPolicy`, or what the links between sites have instead."""

    def connection_creator(self, certificate_name: str) -> object:
        """twisted's IOpenSSLClientConnectionCreator."""
