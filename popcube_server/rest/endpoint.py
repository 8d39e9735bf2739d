"""What a servlet is made of: a class whose methods are marked with the paths that they answer.

    class Tags:
        @endpoint("PUT", "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/tags/{tag}")
        async def set(self, call: Call) -> Mapping[str, Any]:
            ...

The decorator only marks; the composition root gives the built objects to the router.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import field
from enum import Enum
from typing import IO, Any, TypeVar

from popcube_server.services.errors import BadJson, MissingToken
from popcube_server.services.media.sent_file import SentFile
from popcube_server.services.requester import Requester
from synapse_like_config.lazy_dataclasses import dataclass


class Access(Enum):
    """Whose calls an endpoint takes."""

    USER = "a valid access token"
    GUEST = "a valid access token; guests too"
    LOCKED = "a valid access token; guests too, and accounts that are locked"
    OPTIONAL = "with or without a token; a wrong token is refused"
    OPEN = "anybody; a token is not even looked at"
    ADMIN = "a server administrator's access token"
    SERVER = "another server's signature; the body, if there is one, is JSON and part of what is signed"
    SERVER_WAITS = (
        "as SERVER, for what may wait long: it takes no turn of the server's, and has limits of its own"
    )


class Payload(Enum):
    """What an endpoint wants in the request's body."""

    JSON_OBJECT = "a JSON object; an empty body is an error"
    OPTIONAL_JSON_OBJECT = "a JSON object or nothing"
    NONE = "nothing; whatever comes is ignored"
    RAW = "bytes, read through Call.content"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status, headers or bytes of its own. `body` is JSON already or raw bytes."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """An answer streamed from an open file, which is closed afterwards."""

    file: SentFile
    size_bytes: int
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, parsed. `path` holds the decoded variables of the endpoint's path."""

    method: str
    path: Mapping[str, str]
    query: Mapping[str, tuple[str, ...]]
    json: Any
    content: IO[bytes]
    content_length: int
    content_type: str | None
    """What the client says that the body is."""
    client_address: str
    """The client's IP address (behind a configured proxy, what the proxy says)."""
    maybe_requester: Requester | None
    endpoint_name: str
    """The method and path template: what a transaction id is unique within."""
    access_token: str | None
    maybe_origin: str | None = None
    """The server that signed the request."""

    @property
    def requester(self) -> Requester:
        if self.maybe_requester is None:
            raise MissingToken("This call needs an access token.")
        return self.maybe_requester

    @property
    def asker(self) -> str:
        """Who is to be counted for what this server asks of others: the user, or the address without one."""
        return self.client_address if self.maybe_requester is None else self.maybe_requester.user_id

    @property
    def origin(self) -> str:
        """The server name of the caller of an `Access.SERVER` or `SERVER_WAITS` endpoint."""
        if self.maybe_origin is None:
            raise MissingToken("This call needs another server's signature.")
        return self.maybe_origin

    @property
    def body(self) -> Mapping[str, Any]:
        """The JSON object of the body ({} if there was none and none is needed)."""
        if not isinstance(self.json, dict):
            raise BadJson("The body must be a JSON object.")
        return self.json

    def query_one(self, name: str) -> str | None:
        """The query parameter's last value, or None."""
        values = self.query.get(name)
        return values[-1] if values else None


Handler = Callable[[Call], Awaitable["Mapping[str, Any] | Answer | FileAnswer"]]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Mark:
    """What `endpoint` leaves on a method."""

    method: str
    path: str
    access: Access
    payload: Payload


def endpoint(
    method: str, path: str, access: Access = Access.USER, payload: Payload | None = None
) -> Callable[[F], F]:
    """Mark a method as the answer to `method path`. May be given several times.

    `/_matrix/client/v3/...` is served under `r0` too. PUT and POST want a JSON object unless told otherwise.
    """
    if payload is None:
        payload = Payload.JSON_OBJECT if method in ("PUT", "POST") else Payload.NONE

    def mark(function: F) -> F:
        marks: tuple[Mark, ...] = getattr(function, "endpoint_marks", ())
        function.endpoint_marks = (*marks, Mark(method, path, access, payload))  # type: ignore[attr-defined]
        return function

    return mark


def marked_methods(servlet: object) -> Iterator[tuple[Mark, Handler]]:
    """The endpoints of a servlet object."""
    for name in dir(type(servlet)):
        function = getattr(type(servlet), name)
        for mark in getattr(function, "endpoint_marks", ()):
            yield mark, getattr(servlet, name)
