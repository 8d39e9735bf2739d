"""A request while it arrives: how much of it is taken in, and where that is kept.

Also what each answer has that no endpoint knows of: its date, and the end of its connection when the server stops.
"""

import time
from io import BytesIO
from typing import Any, Protocol

from twisted.python.failure import Failure
from twisted.web.http import Request

from popcube_server.rest.errors import error_answer
from popcube_server.rest.front_door.answer_date import AnswerDate
from popcube_server.rest.front_door.answer_head import CORS
from popcube_server.rest.front_door.request_target import split_absolute_form

SMALL_BODY_BYTES = 100_000
"""Bodies up to here are always in memory: twisted.web's own limit."""
LARGE_BODY_BYTES = 4 * 1024 * 1024
LARGE_BODIES_BYTES = 32 * 1024 * 1024
"""Of what is between the two, this much together at a time, in one listener. What is more is in temporary files."""
MAX_SIGNED_BYTES = 16 * 1024 * 1024
"""Of another server's request. A transaction has up to 50 PDUs of 65,536 bytes, and 100 EDUs of which the specification
gives no size: messages to devices are as large as events, and there may be some in each."""
_SIGNED_PATHS = (b"/_matrix/federation/", b"/_matrix/key/")


class ConnectionWatch(Protocol):
    """Hears which connections have a request under way, and says when they are to end."""

    @property
    def is_closing(self) -> bool:
        """An answer that begins now is its connection's last."""

    def began(self, transport: object) -> None: ...

    def ended(self, transport: object) -> None: ...

    def hold(self, transport: object) -> None:
        """What is written until the release goes in one piece, and at once, where the connection can do so."""

    def release(self, transport: object) -> None: ...


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
    date: AnswerDate
    is_refused = False

    def gotLength(self, length: int | None) -> None:
        # The request line was read, and is given to the request only with its last byte. What is no upload need not
        # be taken in to be refused.
        target = getattr(self.channel, "_path", b"")
        absolute = None if target.startswith(b"/") else split_absolute_form(target)
        if (target if absolute is None else absolute[1]).startswith(_SIGNED_PATHS):
            self.max_body_bytes = self.max_signed_bytes
        self.watch.began(self.transport)
        if length is not None and length > self.max_body_bytes:
            self._refuse()
            return
        if length is not None and SMALL_BODY_BYTES <= length <= LARGE_BODY_BYTES and self.memory.take(length):
            # A file that is written and read only to be copied to its place costs more than all else of an upload.
            # In its full size, so that nothing is copied while it grows; memory that is new is taken as it is filled.
            self.content = BytesIO(bytes(length))
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
        absolute = None if path.startswith(b"/") else split_absolute_form(path)
        if absolute is not None:
            # RFC 9112, 3.2.2: "an origin server MUST ignore the received Host header field (if any) and instead use the
            # host information of the request-target".
            host, path = absolute
            self.requestHeaders.setRawHeaders(b"Host", [host])
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def process(self) -> None:
        site: Any = self.channel.site  # type: ignore[attr-defined]
        site.root.render(self)

    def write(self, data: bytes) -> None:
        if self.startedWriting or self._disconnected:
            super().write(data)  # type: ignore[no-untyped-call]
            return
        # RFC 9110, 6.6.1: a server that has a clock says what time it is.
        self.setHeader(b"Date", self.date.text())  # type: ignore[no-untyped-call]
        if self.watch.is_closing:
            # The server stops: the client is not to send its next request here.
            self.setHeader(b"Connection", b"close")  # type: ignore[no-untyped-call]
        # Head and body: most answers are written whole.
        self.watch.hold(self.transport)
        try:
            super().write(data)  # type: ignore[no-untyped-call]
        finally:
            self.watch.release(self.transport)

    def finish(self) -> None:
        # First: the connection's next request may be there already, and begins with this one's end.
        self.watch.ended(self.transport)
        if self.watch.is_closing and not self._disconnected:
            # Also where the answer had begun before: nobody else would end the connection.
            self.channel.persistent = False
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        self.watch.ended(self.transport)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

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
                *CORS,
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
        "date": AnswerDate(time.time),
    }
    return type("ListenerRequest", (LimitedRequest,), members)
