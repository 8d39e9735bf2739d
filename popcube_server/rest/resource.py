"""Between twisted.web and the servlets: finds the organisation and the endpoint, parses, answers, counts.

The only file in `rest` that knows Twisted.
"""

import ipaddress
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from io import BytesIO
from typing import IO, Any, Protocol, cast
from urllib.parse import parse_qs, unquote

import orjson
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import Request, datetimeToString
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from federation.room_dag.canonical_json import decode_json
from popcube_server.lazy_dataclasses import dataclass
from popcube_server.request_context import request_id
from popcube_server.rest.endpoint import Access, Answer, Call, FileAnswer, Payload
from popcube_server.rest.errors import answer_for, error_answer
from popcube_server.rest.router import Route, Router
from popcube_server.services.errors import (
    BadJson,
    InvalidParam,
    MissingToken,
    NotAllowed,
    NotJson,
    Refusal,
    TooLarge,
    UnknownToken,
    UserLocked,
)
from popcube_server.services.federation.authenticate_server import SignedRequest
from popcube_server.services.requester import Requester

logger = logging.getLogger(__name__)

NOT_DONE_YET = 1
"""`twisted.web.server.NOT_DONE_YET`. That module brings Perspective Broker and XML templates with it: 2.5 MiB."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_QUERY_FIELDS = 200
MAX_PATH_BYTES = 16 * 1024
FILE_CHUNK_BYTES = 128 * 1024
"""As much as Twisted gives to the kernel at once."""
SMALL_BODY_BYTES = 100_000
"""Bodies up to here are always in memory: twisted.web's own limit."""
LARGE_BODY_BYTES = 4 * 1024 * 1024
LARGE_BODIES_BYTES = 32 * 1024 * 1024
"""Of what is between the two, this much together at a time, in one listener. What is more is in temporary files."""
MAX_SIGNED_BYTES = 16 * 1024 * 1024
"""Of another server's request. A transaction has up to 50 PDUs of 65,536 bytes, and 100 EDUs of which the specification
gives no size: messages to devices are as large as events, and there may be some in each."""
_SIGNED_PATHS = (b"/_matrix/federation/", b"/_matrix/key/")

_CORS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"X-Requested-With, Content-Type, Authorization"),
)


class Authenticator(Protocol):
    """Turns an access token into its owner."""

    def find_requester(self, token: str) -> Requester | None:
        """The owner if that is known without waiting."""

    async def get_requester(self, token: str) -> Requester:
        """Raises `UnknownToken`."""

    def saw(self, requester: Requester, client_address: str, user_agent: str) -> None:
        """Hear that a user's device is alive. Called with each request: it must cost next to nothing."""


class ServerAuthenticator(Protocol):
    """Finds out which server signed a request."""

    async def authenticate(self, request: SignedRequest) -> str:
        """Its server name. Raises M_UNAUTHORIZED."""


class ServerTurns(Protocol):
    """Says when a server's request may be worked on."""

    def turn(self, name: str, body_bytes: int) -> AbstractAsyncContextManager[None]:
        """Raises `LimitExceeded`."""


class RequestObserver(Protocol):
    """Counts answers (metrics)."""

    def answered(self, endpoint: str, code: int, duration_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Site:
    """What the front door needs of an organisation."""

    router: Router
    authenticator: Authenticator
    server_authenticator: ServerAuthenticator
    server_turns: ServerTurns
    observer: RequestObserver


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """What a JSON body may be at most: a client's, and another server's."""

    max_bytes: int
    max_depth: int
    max_signed_bytes: int


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """What a listener serves: which organisation a host name means, and the listener's own settings."""

    find_site: Callable[[str], Site | None]
    """By the Host header without port, lower case."""
    x_forwarded: bool
    is_trusted_proxy: Callable[[IPAddress], bool]
    """Whether an address's X-Forwarded-For is believed, if `x_forwarded`."""
    is_served: Callable[[str], bool]
    """Whether this listener has the resource that a path belongs to."""
    json_limits: JsonLimits
    timer_s: Callable[[], float]
    new_request_id: Callable[[], str]
    request_id_header: str | None = None
    """The header in which a proxy says which request it is, if it does."""


class ConnectionWatch(Protocol):
    """Hears which connections have a request under way, and says when they are to end."""

    @property
    def is_closing(self) -> bool:
        """An answer that begins now is its connection's last."""

    def began(self, transport: object) -> None: ...

    def ended(self, transport: object) -> None: ...


@implementer(IResource)
class RootResource(Resource):
    """The whole URL space of a listener."""

    isLeaf = True

    def __init__(self, door: FrontDoor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._door = door
        self._under_way = 0
        self._idle: list[Deferred[None]] = []

    async def finish(self) -> None:
        """Wait for the work of all requests, also of those whose clients are gone."""
        if self._under_way:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    def render(self, request: Request) -> int:
        context = copy_context()
        context.run(self._start, request)
        return NOT_DONE_YET

    def _given_id(self, request: Request) -> str | None:
        name = self._door.request_id_header
        values = None if name is None else request.requestHeaders.getRawHeaders(name.encode("latin-1"))
        text = "" if not values else values[-1].decode("latin-1")
        # It goes into log lines: nothing that could look like one of its own.
        return text if 0 < len(text) <= 64 and text.isascii() and text.isprintable() else None

    def _start(self, request: Request) -> None:
        identifier = self._given_id(request) or self._door.new_request_id()
        request_id.set(identifier)
        exchange = _Exchange(request, self._door)
        work = Deferred.fromCoroutine(exchange.run())
        # A client that went away takes its waiting (a long-poll) with it; a write under way is finished all the same.
        request.notifyFinish().addErrback(lambda _: exchange.disconnect(work))
        self._under_way += 1
        work.addErrback(exchange.fault)
        work.addBoth(self._ended)

    def _ended(self, _: object) -> None:
        self._under_way -= 1
        if not self._under_way:
            waiting, self._idle = self._idle, []
            for idle in waiting:
                idle.callback(None)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who calls: the owner of an access token, another server, or nobody in particular."""

    requester: Requester | None
    access_token: str | None
    origin: str | None


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: Request, door: FrontDoor) -> None:
        self._request = request
        self._door = door
        self._started_s = door.timer_s()
        self._endpoint = "unknown"
        self._observer: RequestObserver | None = None
        self._connected = True
        self._cancellable = False

    def disconnect(self, work: "Deferred[None]") -> None:
        self._connected = False
        if self._cancellable:
            work.cancel()

    def fault(self, failure: Failure) -> None:
        if failure.check(CancelledError) and not self._connected:
            return
        logger.error("Internal error in %s", self._endpoint, exc_info=failure.value)
        self._send(error_answer(500, "M_UNKNOWN", "Internal server error."))

    async def run(self) -> None:
        try:
            result = await self._call()
        except Exception as error:
            answer = answer_for(error)
            if answer is None:
                raise
            self._send(answer)
            return
        if isinstance(result, FileAnswer):
            await self._send_file(result)
        elif isinstance(result, Answer):
            self._send(result)
        else:
            self._send(Answer(orjson.dumps(result)))

    async def _call(self) -> "Mapping[str, Any] | Answer | FileAnswer":
        request = self._request
        site = self._door.find_site(_host(request))
        if site is None:
            return error_answer(404, "M_UNRECOGNIZED", "This server does not know that host name.")
        self._observer = site.observer
        method = request.method.decode("latin-1")
        raw_path = request.uri.split(b"?", 1)[0]
        if len(raw_path) > MAX_PATH_BYTES or len(request.uri) > 4 * MAX_PATH_BYTES:
            raise TooLarge("The path is too long.")
        match = site.router.find(method, raw_path)
        if method == "OPTIONS":
            # CORS preflight: every path answers, nothing is done.
            return Answer(b"{}")
        # The router reads `/%6Detrics` as `/metrics`: so must those who say whether it is served here.
        if match is None or not self._door.is_served(unquote(raw_path, "latin-1")):
            return error_answer(404, "M_UNRECOGNIZED", "There is no such endpoint.")
        if match.route is None:
            answer = error_answer(405, "M_UNRECOGNIZED", f"This endpoint does not answer {method}.")
            return Answer(answer.body, 405, {"Allow": ", ".join((*match.methods, "OPTIONS"))})
        self._endpoint = match.route.name
        self._cancellable = method == "GET"
        return await self._handle(site, match.route, match.path)

    async def _handle(
        self, site: Site, route: Route, path: Mapping[str, str]
    ) -> "Mapping[str, Any] | Answer | FileAnswer":
        query = _query(self._request.uri)
        if route.mark.access in (Access.SERVER, Access.SERVER_WAITS):
            return await self._handle_signed(site, route, path, query)
        # Where anybody may call, the header may be of another kind: Synapse signs its requests for keys, too.
        token = None if route.mark.access is Access.OPEN else _access_token(self._request, query)
        # The token is checked before the body is even looked at.
        requester = await _authenticate(site.authenticator, route.mark.access, token)
        if requester is not None:
            client_address = _client_address(self._request, self._door)
            site.authenticator.saw(requester, client_address, _user_agent(self._request))
        json = _json(self._request, route.mark.payload, self._door.json_limits)
        caller = _Caller(requester, token, None)
        return await route.handler(self._parsed(route, path, query, json, caller))

    async def _handle_signed(
        self,
        site: Site,
        route: Route,
        path: Mapping[str, str],
        query: Mapping[str, tuple[str, ...]],
    ) -> "Mapping[str, Any] | Answer | FileAnswer":
        request = self._request
        body = _SignedBody(request, self._door.json_limits.max_signed_bytes)
        signed = SignedRequest(
            [
                value.decode("latin-1")
                for value in request.requestHeaders.getRawHeaders(b"Authorization") or ()
            ],
            route.mark.method,
            request.uri.decode("latin-1"),
            body.read,
        )
        origin = await site.server_authenticator.authenticate(signed)
        if route.mark.access is Access.SERVER_WAITS:
            return await route.handler(self._parsed(route, path, query, {}, _Caller(None, None, origin)))
        async with site.server_turns.turn(origin, body.size_bytes):
            content = body.read()
            if content is None and route.mark.payload is Payload.JSON_OBJECT:
                raise NotJson("The body is missing.")
            json = {} if content is None else content
            return await route.handler(self._parsed(route, path, query, json, _Caller(None, None, origin)))

    def _parsed(
        self,
        route: Route,
        path: Mapping[str, str],
        query: Mapping[str, tuple[str, ...]],
        json: Any,
        caller: "_Caller",
    ) -> Call:
        return Call(
            method=route.mark.method,
            path=path,
            query=query,
            json=json,
            content=cast(IO[bytes], self._request.content),
            content_length=_content_length(self._request),
            headers={
                name.decode("latin-1").lower(): values[-1].decode("latin-1")
                for name, values in self._request.requestHeaders.getAllRawHeaders()
            },
            client_address=_client_address(self._request, self._door),
            maybe_requester=caller.requester,
            endpoint_name=route.name,
            access_token=caller.access_token,
            organisation_url=_own_url(self._request, self._door),
            maybe_origin=caller.origin,
        )

    def _send(self, answer: Answer) -> None:
        self._count(answer.status)
        if not self._connected:
            return
        self._head(answer.status, answer.content_type, len(answer.body), answer.headers)
        self._request.write(answer.body)
        self._request.finish()

    async def _send_file(self, answer: FileAnswer) -> None:
        self._count(200)
        try:
            if self._connected:
                self._head(200, answer.content_type, answer.size_bytes, answer.headers)
                self._cancellable = True
                if await FileSending(answer.file, self._request).send():
                    self._request.finish()
        finally:
            answer.file.close()

    def _head(self, status: int, content_type: str, length: int, headers: Mapping[str, str]) -> None:
        request = self._request
        request.setResponseCode(status)
        for name, value in _CORS:
            request.setHeader(name, value)
        request.setHeader(b"Content-Type", content_type.encode("latin-1", "replace"))
        request.setHeader(b"Content-Length", str(length).encode())
        for header, text in headers.items():
            request.setHeader(header.encode("latin-1"), text.encode("latin-1", "replace"))

    def _count(self, status: int) -> None:
        duration_s = self._door.timer_s() - self._started_s
        if self._observer is not None:
            self._observer.answered(self._endpoint, status, duration_s)
        if logger.isEnabledFor(logging.INFO):
            # Neither query nor headers: both may carry a token.
            path = self._request.uri.split(b"?", 1)[0].decode("latin-1")
            logger.info(
                "%s %s %d %.1f ms", self._request.method.decode("latin-1"), path, status, duration_s * 1000
            )


@implementer(IPushProducer)
class FileSending:
    """Sends a file as quickly as the client takes it, without a timer and with one chunk in memory."""

    def __init__(self, file: IO[bytes], request: Request) -> None:
        self._file = file
        self._request = request
        self._paused = True
        self._done: Deferred[bool] = Deferred(lambda _: self.pauseProducing())

    def send(self) -> "Deferred[bool]":
        """True once everything was handed to the transport; False if the client went away."""
        self._request.registerProducer(self, True)
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        if self._done.called:
            return
        self._paused = False
        while not self._paused:
            data = self._file.read(FILE_CHUNK_BYTES)
            if not data:
                self._paused = True
                self._request.unregisterProducer()
                self._done.callback(True)
                return
            self._request.write(data)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True
        if not self._done.called:
            self._done.callback(False)


async def _authenticate(authenticator: Authenticator, access: Access, token: str | None) -> Requester | None:
    if access is Access.OPEN:
        return None
    if token is None:
        if access is Access.OPTIONAL:
            return None
        raise MissingToken("This call needs an access token.")
    requester = authenticator.find_requester(token) or await authenticator.get_requester(token)
    if requester.is_locked and access is not Access.LOCKED:
        raise UserLocked("This account is locked.", soft_logout=True)
    if access is Access.ADMIN and not requester.is_admin:
        raise NotAllowed("Only a server administrator may do this.")
    if access is Access.USER and requester.is_guest:
        raise _guest_refusal()
    return requester


def _user_agent(request: Request) -> str:
    values = request.requestHeaders.getRawHeaders(b"User-Agent")
    return values[-1].decode("latin-1") if values else ""


def _guest_refusal() -> Refusal:
    return NotAllowed("Guests may not do this.")


def _access_token(request: Request, query: Mapping[str, tuple[str, ...]]) -> str | None:
    headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
    if headers:
        if len(headers) > 1:
            raise MissingToken("There is more than one Authorization header.")
        scheme, _, token = headers[0].partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise MissingToken("The Authorization header must be 'Bearer' and the access token.")
        try:
            return token.decode("ascii").strip()
        except UnicodeDecodeError:
            raise UnknownToken("The access token is not known.") from None
    # Deprecated since v1.11 of the specification, and part of every version before v1.20.
    values = query.get("access_token")
    return values[-1] if values else None


def _query(uri: bytes) -> Mapping[str, tuple[str, ...]]:
    _, mark, text = uri.partition(b"?")
    if not mark or not text:
        return {}
    try:
        fields = parse_qs(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except ValueError:
        raise InvalidParam("The query string cannot be read.") from None
    return {name: tuple(values) for name, values in fields.items()}


def _json(request: Request, payload: Payload, limits: JsonLimits) -> Any:
    if payload is Payload.NONE or payload is Payload.RAW:
        return {}
    if _content_length(request) > limits.max_bytes:
        raise TooLarge("The body is too large.")
    data = b"" if request.content is None else request.content.read()
    if not data and payload is Payload.OPTIONAL_JSON_OBJECT:
        return {}
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise NotJson("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise BadJson("The body must be a JSON object.")
    if len(data) > 2 * limits.max_depth and _is_too_deep(value, limits.max_depth):
        raise BadJson("The body's JSON is nested too deeply.")
    return value


class _SignedBody:
    """The body of another server's request, parsed when it is wanted for the first time."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._request = request
        self.size_bytes = _content_length(request)
        if self.size_bytes > max_bytes:
            raise TooLarge("The body is too large.")
        self._parsed: tuple[Any] | None = None

    def read(self) -> Any:
        """None if there is none.

        Numbers stay as they were signed, and depth is the affair of each event in it: one event that is nested too
        deeply must not keep away those beside it.
        """
        if self._parsed is None:
            self._parsed = (self._parse(),)
        return self._parsed[0]

    def _parse(self) -> Any:
        data = b"" if self._request.content is None else self._request.content.read()
        if not data:
            return None
        try:
            value = decode_json(data)
        except ValueError:
            raise NotJson("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise BadJson("The body must be a JSON object.")
        return value


def _is_too_deep(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, (dict, list)))
            else:
                below.extend(child for child in item if isinstance(child, (dict, list)))
        if not below:
            return False
        level = below
    return True


def _content_length(request: Request) -> int:
    content = request.content
    if content is None:
        return 0
    here = content.tell()
    length = content.seek(0, 2)
    content.seek(here)
    return int(length)


def _host(request: Request) -> str:
    header = request.requestHeaders.getRawHeaders(b"Host") or [b""]
    host = header[0].decode("latin-1").lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _client_address(request: Request, door: FrontDoor) -> str:
    # A Unix socket has no address: whoever may open it is our proxy.
    peer = getattr(request.getClientAddress(), "host", "") or ""
    if not door.x_forwarded or (peer and not door.is_trusted_proxy(_ip_address(peer))):
        return str(peer)
    header = request.requestHeaders.getRawHeaders(b"X-Forwarded-For")
    if not header:
        return str(peer)
    # The proxy appends the address that it saw: the last one is the only one that a client cannot make up.
    text = header[-1].decode("latin-1").rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return str(peer)


def _ip_address(peer: str) -> IPAddress:
    address = ipaddress.ip_address(peer.partition("%")[0])
    # What a socket for both families calls an IPv4 address.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _own_url(request: Request, door: FrontDoor) -> str:
    host = (request.requestHeaders.getRawHeaders(b"Host") or [b""])[0].decode("latin-1")
    scheme = "https" if request.isSecure() else "http"
    if door.x_forwarded:
        forwarded = request.requestHeaders.getRawHeaders(b"X-Forwarded-Proto")
        if forwarded and forwarded[-1].lower() in (b"http", b"https"):
            scheme = forwarded[-1].decode("latin-1").lower()
    return f"{scheme}://{host}"


class BodyMemory:
    """How much memory the larger bodies of a listener's requests take, so that many at once cannot take all."""

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes

    def take(self, size_bytes: int) -> bool:
        """Whether there is so much left; it is taken then."""
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        self._left_bytes += size_bytes


class LimitedRequest(Request):
    """A request for the root of its channel's `QuietSite`.

    It is cut off while it arrives, once it is larger than anything that could be accepted.
    """

    max_body_bytes: int
    max_signed_bytes: int
    watch: ConnectionWatch
    memory: BodyMemory
    is_refused = False

    def gotLength(self, length: int | None) -> None:
        transport = self.channel.transport
        # The request line was read, and is given to the request only with its last byte. What is no upload need not
        # be taken in to be refused.
        if getattr(self.channel, "_path", b"").startswith(_SIGNED_PATHS):
            self.max_body_bytes = self.max_signed_bytes
        self.watch.began(transport)
        self.notifyFinish().addBoth(lambda _: self.watch.ended(transport))
        if length is not None and length > self.max_body_bytes:
            self._refuse()
            return
        if length is not None and SMALL_BODY_BYTES <= length <= LARGE_BODY_BYTES and self.memory.take(length):
            # A file that is written and read only to be copied to its place costs more than all else of an upload.
            self.content = BytesIO()
            self.notifyFinish().addBoth(lambda _: self.memory.give_back(length))
            return
        super().gotLength(length)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:
        if self.is_refused:
            # Was on its way already when the connection was closed.
            return
        if self.content is not None and self.content.tell() + len(data) > self.max_body_bytes:
            self._refuse()
            return
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        transport: Any = self.channel.transport
        if self.is_refused or transport.disconnecting:
            # The channel reads on after a head that it has answered with 400, as long as something comes.
            return
        # twisted.web would read a form (or an upload that is called one) into memory as a whole and parse it, token or
        # no token; and what stands in the query. All that is left to those whom the request is for.
        if self.content is not None:
            self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def process(self) -> None:
        # RFC 9110, 6.6.1: a server that has a clock says what time it is.
        self.setHeader(b"Date", datetimeToString())  # type: ignore[no-untyped-call]
        site: Any = self.channel.site  # type: ignore[attr-defined]
        site.root.render(self)

    def write(self, data: bytes) -> None:
        if self.watch.is_closing and not self.startedWriting:
            # The server stops: the client is not to send its next request here.
            self.setHeader(b"Connection", b"close")  # type: ignore[no-untyped-call]
            self.channel.persistent = False
        super().write(data)  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        self.is_refused = True
        # The channel answers that with "100 Continue".
        self.requestHeaders.removeHeader(b"Expect")
        body = error_answer(413, "M_TOO_LARGE", "The body is too large.").body
        super().gotLength(0)  # type: ignore[no-untyped-call]
        self.channel.writeHeaders(
            b"HTTP/1.1",
            b"413",
            b"Request Entity Too Large",
            [
                (b"Content-Type", b"application/json"),
                (b"Content-Length", str(len(body)).encode()),
                (b"Connection", b"close"),
                *_CORS,
            ],
        )
        self.channel.write(body)
        self.channel.loseConnection()


def limited_request(
    max_body_bytes: int, max_signed_bytes: int, watch: ConnectionWatch
) -> type[LimitedRequest]:
    """The request class of a listener whose largest body is `max_body_bytes`, and of other servers the second."""
    members = {
        "max_body_bytes": max_body_bytes,
        "max_signed_bytes": max_signed_bytes,
        "watch": watch,
        "memory": BodyMemory(LARGE_BODIES_BYTES),
    }
    return type("ListenerRequest", (LimitedRequest,), members)
