"""The web server's part of a listener."""

from typing import Any, Protocol

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel, HTTPFactory, Request
from twisted.web.http_headers import Headers


class Root(Protocol):
    """What answers every request of a listener."""

    def render(self, request: Any) -> object: ...


class QuietChannel(HTTPChannel):
    """Asks its socket for addresses once, not for each request, and writes the head of an answer as one piece."""

    _peer: IAddress | None = None
    _host: IAddress | None = None

    def getPeer(self) -> IAddress:  # noqa: N802
        if self._peer is None:
            self._peer = super().getPeer()  # type: ignore[no-untyped-call]
        return self._peer

    def getHost(self) -> IAddress:  # noqa: N802
        if self._host is None:
            self._host = super().getHost()  # type: ignore[no-untyped-call]
        return self._host

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:  # noqa: N802
        # Headers have made sure that nothing in them ends a line. A list of pairs has not, and is rare.
        if not isinstance(headers, Headers):
            super().writeHeaders(version, code, reason, headers)  # type: ignore[no-untyped-call]
            return
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            lines += [b"%b: %b\r\n" % (name, value) for value in values]
        lines.append(b"\r\n")
        self.write(b"".join(lines))  # type: ignore[no-untyped-call]


class QuietSite(HTTPFactory):
    """HTTP/1.1 for one listener; `make_request` makes `LimitedRequest`, which know the root from here.

    Without a log of its own: `rest/front_door/exchange.py` logs requests, without their queries, in which tokens may
    stand.
    """

    # By default there would be a proxy around each channel, to change to HTTP/2 if the library for it happens to be
    # there.
    protocol = QuietChannel  # type: ignore[assignment]

    def __init__(
        self, root: Root, make_request: type[Request], reactor: Any, timeout_s: float | None
    ) -> None:
        """`timeout_s`: after which a connection is closed on which nobody sends anything."""
        super().__init__(reactor=reactor)
        self.timeOut = timeout_s
        self.root = root
        self._make_request = make_request

    def buildProtocol(self, addr: IAddress | None) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = self._make_request
        channel.site = self
        return channel

    # `_logFile` stays None, so that no line is made for a request, and no timer runs for the lines' times.
    def startFactory(self) -> None:  # noqa: N802
        pass

    def stopFactory(self) -> None:  # noqa: N802
        pass
