"""The body of a request, once all of it is there: a client's JSON, and what another server signed."""

from typing import Any

import orjson
from twisted.web.http import Request

from federation.room_dag.canonical_json import decode_json
from popcube_server.rest.endpoint import Payload
from popcube_server.rest.front_door.door import JsonLimits
from popcube_server.services.errors import BadJson, NotJson, TooLarge


def content_length(request: Request) -> int:
    """In bytes; 0 if it is gone, because the client is."""
    content = request.content
    if content is None or content.closed:
        return 0
    here = content.tell()
    length = content.seek(0, 2)
    content.seek(here)
    return int(length)


def read_json(request: Request, payload: Payload, limits: JsonLimits) -> Any:
    """The JSON object, {} if none is needed. Raises `TooLarge`, `NotJson` or `BadJson`."""
    if payload is Payload.NONE or payload is Payload.RAW:
        return {}
    if content_length(request) > limits.max_bytes:
        raise TooLarge("The body is too large.")
    data = _read(request)
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


class SignedBody:
    """The body of another server's request, parsed when it is wanted for the first time."""

    def __init__(self, request: Request, max_bytes: int) -> None:
        self._request = request
        self.size_bytes = content_length(request)
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
        data = _read(self._request)
        if not data:
            return None
        try:
            value = decode_json(data)
        except ValueError:
            raise NotJson("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise BadJson("The body must be a JSON object.")
        return value


def _read(request: Request) -> bytes:
    content = request.content
    if content is None:
        return b""
    if content.closed:
        # twisted.web does that if the connection is lost. It is no empty body: with that, something might be done.
        raise NotJson("The request was broken off.")
    data: bytes = content.read()
    return data


def _is_too_deep(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
