"""Asks another server for its media: the endpoint for servers, and for old servers the one for everybody.

Source: server-server API, "Content Repository".
"""

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from federation.transport.body_pipe import StreamLimits
from federation.transport.errors import HttpRefusal, InvalidAnswer
from federation.transport.federation_client import api_path
from federation.transport.multipart import (
    InvalidMultipart,
    MultipartReader,
    PartEnd,
    PartHead,
    parse_boundary,
)
from federation.transport.streaming_client import AnswerStream, StreamingClient
from popcube_server.services.media.content_type import clean_content_type
from popcube_server.services.media.file_name import parse_file_name
from popcube_server.services.media.media_address import MediaAddress

SIGNED_PATH = "/_matrix/federation/v1/media/download"
OPEN_PATHS = ("/_matrix/media/v3/download", "/_matrix/media/r0/download")
PATIENCE_S = 40.0
"""For everything up to the head of an answer, beside the time that the other server may wait for an upload."""
MAX_METADATA_BYTES = 64 * 1024
MAX_OVERHEAD_BYTES = 128 * 1024
"""What an answer in parts may have beside the content."""


class IncomingContent(Protocol):
    """Content that another server is sending. What it raises is a `FederationError`. To be closed in any case."""

    content_type: str
    file_name: str | None
    length_bytes: int | None
    """At most how many bytes are to come, if that is known."""

    async def read(self) -> bytes:
        """The next piece; nothing at the end, and only if all of it came."""

    def close(self) -> None: ...


class WholeContent:
    """An answer that is nothing but the content."""

    def __init__(self, answer: AnswerStream) -> None:
        self._answer = answer
        self.content_type = clean_content_type(answer.headers.get("content-type"))
        self.file_name = parse_file_name(answer.headers.get("content-disposition"))
        self.length_bytes = answer.length_bytes

    async def read(self) -> bytes:
        return await self._answer.read()

    def close(self) -> None:
        self._answer.close()


class PartsOfAnswer:
    """An answer in parts, item by item."""

    def __init__(self, destination: str, answer: AnswerStream, reader: MultipartReader) -> None:
        self._destination = destination
        self._answer = answer
        self._reader = reader
        self._items: deque[PartHead | bytes | PartEnd] = deque()
        self.length_bytes = answer.length_bytes

    async def next_item(self) -> PartHead | bytes | PartEnd | None:
        """None behind the last part. Raises `InvalidAnswer` for what is not in parts, or not to the end."""
        while not self._items:
            if self._reader.is_complete:
                return None
            data = await self._answer.read()
            if not data:
                raise self.invalid("the answer breaks off")
            try:
                self._items.extend(self._reader.feed(data))
            except InvalidMultipart as error:
                raise self.invalid(str(error)) from None
        return self._items.popleft()

    def invalid(self, reason: str) -> InvalidAnswer:
        return InvalidAnswer(self._destination, reason)

    def close(self) -> None:
        self._answer.close()


class PartContent:
    """The content in the second of two parts."""

    def __init__(self, parts: PartsOfAnswer, headers: Mapping[str, str]) -> None:
        self._parts = parts
        self.content_type = clean_content_type(headers.get("content-type"))
        self.file_name = parse_file_name(headers.get("content-disposition"))
        self.length_bytes = parts.length_bytes

    async def read(self) -> bytes:
        item = await self._parts.next_item()
        if isinstance(item, bytes):
            return item
        # The boundary delineates exactly two parts.
        if not isinstance(item, PartEnd) or await self._parts.next_item() is not None:
            raise self._parts.invalid("the answer has more than two parts")
        return b""

    def close(self) -> None:
        self._parts.close()


class AskForMedia:
    """Finds the content of a media ID on its server."""

    def __init__(self, client: StreamingClient, max_bytes: int) -> None:
        self._client = client
        self._max_bytes = max_bytes

    async def open(self, address: MediaAddress, timeout_ms: int) -> IncomingContent:
        """The content, about to come; `timeout_ms` is how long it may take to be uploaded over there.

        Raises `FederationError`.
        """
        try:
            return await self._open_signed(address, timeout_ms)
        except HttpRefusal as error:
            # An old server: "M_UNRECOGNIZED" is how it says that it has no such endpoint.
            if not _is_unknown_endpoint(error):
                raise
        return await self._open_unsigned(address, timeout_ms)

    async def _open_signed(self, address: MediaAddress, timeout_ms: int) -> IncomingContent:
        limits = self._limits(timeout_ms, MAX_OVERHEAD_BYTES)
        path = api_path(SIGNED_PATH, address.media_id)
        answer = await self._client.get_signed(
            address.server_name, path, {"timeout_ms": str(timeout_ms)}, limits
        )
        try:
            return await self._open_parts(address, answer, timeout_ms)
        except BaseException:
            answer.close()
            raise

    async def _open_parts(
        self, address: MediaAddress, answer: AnswerStream, timeout_ms: int
    ) -> IncomingContent:
        _check_encoding(address, answer)
        try:
            boundary = parse_boundary(answer.headers.get("content-type", ""))
        except InvalidMultipart as error:
            raise InvalidAnswer(address.server_name, str(error)) from None
        parts = PartsOfAnswer(address.server_name, answer, MultipartReader(boundary))
        # The first part describes the media's metadata, if any: so far always an empty object, and not looked at.
        await _read_head(parts)
        await _skip_part(parts)
        headers = await _read_head(parts)
        location = headers.get("location")
        if location is None:
            return PartContent(parts, headers)
        # Or it has a Location header, to redirect the caller to where the media can be retrieved.
        answer.close()
        found = await self._client.get_url(address.server_name, location, self._limits(timeout_ms, 0))
        return _whole(address, found)

    async def _open_unsigned(self, address: MediaAddress, timeout_ms: int) -> IncomingContent:
        # With the parameter allow_remote set to false: the other server must not ask a third one.
        query = {"allow_remote": "false", "allow_redirect": "true", "timeout_ms": str(timeout_ms)}
        limits = self._limits(timeout_ms, 0)
        newest, oldest = (api_path(path, address.server_name, address.media_id) for path in OPEN_PATHS)
        try:
            answer = await self._client.get_open(address.server_name, newest, query, limits)
        except HttpRefusal as error:
            if not _is_unknown_endpoint(error):
                raise
            answer = await self._client.get_open(address.server_name, oldest, query, limits)
        return _whole(address, answer)

    def _limits(self, timeout_ms: int, overhead_bytes: int) -> StreamLimits:
        return StreamLimits(timeout_ms / 1000 + PATIENCE_S, self._max_bytes + overhead_bytes)


def _is_unknown_endpoint(error: HttpRefusal) -> bool:
    # "404 M_UNRECOGNIZED" and "405 M_UNRECOGNIZED"; older servers say 400. A proxy in front of one says just 404.
    if error.errcode is None:
        return error.status == 404
    return error.errcode == "M_UNRECOGNIZED" and error.status in (400, 404, 405)


def _whole(address: MediaAddress, answer: AnswerStream) -> WholeContent:
    try:
        _check_encoding(address, answer)
    except InvalidAnswer:
        answer.close()
        raise
    return WholeContent(answer)


def _check_encoding(address: MediaAddress, answer: AnswerStream) -> None:
    # Nothing was said of encodings in the request: what comes encoded would be kept so, and be garbage to clients.
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidAnswer(address.server_name, "the answer is compressed")


async def _read_head(parts: PartsOfAnswer) -> Mapping[str, str]:
    item = await parts.next_item()
    if not isinstance(item, PartHead):
        raise parts.invalid("the answer has fewer than two parts")
    return item.headers


async def _skip_part(parts: PartsOfAnswer) -> None:
    left_bytes = MAX_METADATA_BYTES
    while isinstance(item := await parts.next_item(), bytes):
        left_bytes -= len(item)
        if left_bytes < 0:
            raise parts.invalid("the metadata are too large")
