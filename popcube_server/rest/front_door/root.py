"""Where each request of a listener begins: it gets its ID for the log, and its work is waited for at the end."""

from contextvars import copy_context

from twisted.internet.defer import Deferred
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from popcube_server.request_context import request_id
from popcube_server.rest.front_door.door import FrontDoor
from popcube_server.rest.front_door.exchange import Exchange

NOT_DONE_YET = 1
"""`twisted.web.server.NOT_DONE_YET`. That module brings Perspective Broker and XML templates with it: 2.5 MiB."""


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
        exchange = Exchange(request, self._door)
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
