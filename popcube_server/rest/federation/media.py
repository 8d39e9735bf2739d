"""Specification module content_repository of the server-server API: our media, for other servers."""

from collections.abc import Callable

from popcube_server.rest.client.media_answers import (
    DEFAULT_WAIT_MS,
    disposition,
    disposition_kind,
    parse_thumbnail,
    thumbnail_disposition,
)
from popcube_server.rest.endpoint import Access, Call, FileAnswer, endpoint
from popcube_server.rest.parse import query_int
from popcube_server.services.media.download_media import OpenedMedia
from popcube_server.services.media.media_address import MAX_WAIT_MS, MediaRequest, parse_media_address
from popcube_server.services.media.sent_file import SentFile
from popcube_server.services.media.serve_media import ServeMedia


class FederationMedia:
    """Only what was uploaded here: others are asked for theirs."""

    def __init__(self, server_name: str, serve: ServeMedia, new_boundary: Callable[[], str]) -> None:
        self._server_name = server_name
        self._serve = serve
        self._new_boundary = new_boundary

    @endpoint("GET", "/_matrix/federation/v1/media/download/{media_id}", Access.SERVER_WAITS)
    async def download(self, call: Call) -> FileAnswer:
        opened = await self._serve.open_content(call.origin, self._parse(call))
        kind = disposition_kind(opened.content_type)
        return self._answer(opened, disposition(kind, opened.file_name))

    @endpoint("GET", "/_matrix/federation/v1/media/thumbnail/{media_id}", Access.SERVER_WAITS)
    async def thumbnail(self, call: Call) -> FileAnswer:
        wanted = parse_thumbnail(call)
        opened = await self._serve.open_thumbnail(call.origin, self._parse(call), wanted)
        return self._answer(opened, thumbnail_disposition(opened.content_type))

    def _parse(self, call: Call) -> MediaRequest:
        address = parse_media_address(self._server_name, call.path["media_id"])
        return MediaRequest(address, query_int(call, "timeout_ms", DEFAULT_WAIT_MS, 0, MAX_WAIT_MS), False)

    def _answer(self, opened: OpenedMedia, content_disposition: str) -> FileAnswer:
        """ "MUST contain a `boundary` [...] delineating exactly two parts" """
        # 128 random bits: they are not in the content.
        boundary = self._new_boundary()
        before = (
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n"
            f"--{boundary}\r\nContent-Type: {opened.content_type}\r\n"
            f"Content-Disposition: {content_disposition}\r\n\r\n"
        ).encode("latin-1", "replace")
        after = f"\r\n--{boundary}--\r\n".encode()
        size_bytes = len(before) + opened.size_bytes + len(after)
        return FileAnswer(
            _Enclosed(before, opened.file, after), size_bytes, f"multipart/mixed; boundary={boundary}"
        )


class _Enclosed:
    """A file with something before and behind it."""

    def __init__(self, before: bytes, file: SentFile, after: bytes) -> None:
        self._before = before
        self._file = file
        self._after = after
        self.close = file.close

    def read_now(self, size_bytes: int) -> bytes | None:
        if self._before:
            return self._take_before()
        data = self._file.read_now(size_bytes)
        return self._take_after() if data == b"" else data

    async def read(self, size_bytes: int) -> bytes:
        return self._take_before() or await self._file.read(size_bytes) or self._take_after()

    def _take_before(self) -> bytes:
        data, self._before = self._before, b""
        return data

    def _take_after(self) -> bytes:
        data, self._after = self._after, b""
        return data
