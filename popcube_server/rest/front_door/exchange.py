"""One request and its answer, from the host name to the line in the log.

The client may go away at any moment: what waits is broken off then, and a write under way is finished.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http import Request

from popcube_server.rest.endpoint import Answer, FileAnswer
from popcube_server.rest.errors import answer_for, error_answer
from popcube_server.rest.front_door.addresses import host_of
from popcube_server.rest.front_door.answer_head import write_head
from popcube_server.rest.front_door.door import FrontDoor
from popcube_server.rest.front_door.file_sending import FileSending
from popcube_server.rest.front_door.handle_call import handle
from popcube_server.rest.front_door.site import RequestObserver
from popcube_server.services.errors import TooLarge

logger = logging.getLogger(__name__)

MAX_PATH_BYTES = 16 * 1024


class Exchange:
    """One request and its answer."""

    def __init__(self, request: Request, door: FrontDoor) -> None:
        self._request = request
        self._door = door
        self._started_s = door.timer_s()
        self._endpoint = "unknown"
        self._observer: RequestObserver | None = None
        self._connected = True
        self._cancellable = False
        self._is_answered = False
        """At least in part."""

    def disconnect(self, work: "Deferred[None]") -> None:
        """The client is gone."""
        self._connected = False
        if self._cancellable:
            work.cancel()

    def fault(self, failure: Failure) -> None:
        """Log an error of ours, and say no more of it to the client."""
        if failure.check(CancelledError) and not self._connected:
            _forget_frames(failure.value)
            return
        logger.error("Internal error in %s", self._endpoint, exc_info=failure.value)
        if not self._is_answered:
            self._send(error_answer(500, "M_UNKNOWN", "Internal server error."))
        elif self._connected:
            # No other answer can follow: this one is broken off.
            self._request.loseConnection()

    async def run(self) -> None:
        try:
            result = await self._call()
        except Exception as error:
            answer = answer_for(error)
            if answer is None:
                raise
            _forget_frames(error)
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
        site = self._door.find_site(host_of(request))
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
        return await handle(request, self._door, site, match.route, match.path)

    def _send(self, answer: Answer) -> None:
        self._count(answer.status)
        if not self._connected:
            return
        write_head(self._request, answer.status, answer.content_type, len(answer.body), answer.headers)
        self._is_answered = True
        self._request.write(answer.body)
        self._request.finish()

    async def _send_file(self, answer: FileAnswer) -> None:
        self._count(200)
        try:
            if self._connected:
                write_head(self._request, 200, answer.content_type, answer.size_bytes, answer.headers)
                self._is_answered = self._cancellable = True
                if await FileSending(answer.file, self._request).send():
                    if self._request.sentLength < answer.size_bytes:
                        # The next answer on this connection would be taken for the rest of it.
                        raise OSError("the file is shorter than was said of it")
                    self._request.finish()
        finally:
            answer.file.close()

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


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what the functions held through which an error came.

    On its way through a Deferred an error gets into frames that its own traceback refers to. What stands in them, like
    the body of the request, would stay until the next search for garbage.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
