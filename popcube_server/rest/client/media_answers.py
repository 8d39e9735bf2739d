"""What the media endpoints, old and new, have in common: reading the request, and heads that are safe to show."""

import re
from urllib.parse import quote

from popcube_server.rest.endpoint import Call, FileAnswer
from popcube_server.rest.parse import query_bool, query_choice, query_int, query_string
from popcube_server.services.errors import InvalidParam
from popcube_server.services.media.download_media import OpenedMedia
from popcube_server.services.media.media_address import MAX_WAIT_MS, MediaRequest, parse_media_address
from popcube_server.services.media.receive_content import Upload
from popcube_server.services.media.thumbnail_sizes import WantedThumbnail

DEFAULT_WAIT_MS = 20_000
MAX_SIDE = 100_000
MAX_FILE_NAME_BYTES = 1024
UNKNOWN_TYPE = "application/octet-stream"

# Servers SHOULD restrict Content-Type headers to one of the following values when serving content inline.
INLINE_TYPES = frozenset(
    (
        "text/css",
        "text/plain",
        "text/csv",
        "application/json",
        "application/ld+json",
        "image/jpeg",
        "image/gif",
        "image/png",
        "image/apng",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "video/quicktime",
        "audio/mp4",
        "audio/webm",
        "audio/aac",
        "audio/mpeg",
        "audio/ogg",
        "audio/wave",
        "audio/wav",
        "audio/x-wav",
        "audio/x-pn-wav",
        "audio/flac",
        "audio/x-flac",
    )
)

# When serving content, the server SHOULD provide a Content-Security-Policy header (this is the recommended one), and
# Cross-Origin-Resource-Policy: cross-origin.
_SAFETY = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf;"
        " style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_CONTENT_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*;[ -~]*)?")


def parse_upload(call: Call) -> Upload:
    """Raises `InvalidParam` for a file name that is too long."""
    file_name = call.query_one("filename") or None
    if file_name is not None:
        check_file_name(file_name)
    return Upload(call.content, call.content_length, _content_type(call), file_name)


def check_file_name(file_name: str) -> None:
    if len(file_name.encode()) > MAX_FILE_NAME_BYTES:
        raise InvalidParam(f"The file name is longer than {MAX_FILE_NAME_BYTES} bytes.")


def _content_type(call: Call) -> str:
    # Defaults to application/octet-stream if it is not set. The same stands for what is no media type at all:
    # it must not get into an answer's head.
    given = call.headers.get("content-type", "").strip(" \t")
    return given if len(given) <= 255 and _CONTENT_TYPE.fullmatch(given) else UNKNOWN_TYPE


def parse_request(call: Call) -> MediaRequest:
    """Raises `NotFound` for an impossible mxc:// URI, `InvalidParam`."""
    return MediaRequest(
        parse_media_address(call.path["server_name"], call.path["media_id"]),
        query_int(call, "timeout_ms", DEFAULT_WAIT_MS, 0, MAX_WAIT_MS),
        query_bool(call, "allow_remote", True),
    )


def parse_thumbnail(call: Call) -> WantedThumbnail:
    """Raises `MissingParam`, `InvalidParam`."""
    for name in ("width", "height"):
        query_string(call, name)
    return WantedThumbnail(
        query_int(call, "width", 0, 1, MAX_SIDE),
        query_int(call, "height", 0, 1, MAX_SIDE),
        query_choice(call, "method", ("crop", "scale")) or "scale",
        # When not provided, the server SHOULD NOT return an animated thumbnail.
        query_bool(call, "animated", False),
    )


def media_answer(opened: OpenedMedia, cache: str) -> FileAnswer:
    """`cache` is the value of Cache-Control. The file name is the uploader's."""
    return named_answer(opened, opened.file_name, cache)


def named_answer(opened: OpenedMedia, file_name: str | None, cache: str) -> FileAnswer:
    media_type = opened.content_type.partition(";")[0].strip().lower()
    kind = "inline" if media_type in INLINE_TYPES else "attachment"
    return _answer(opened, disposition(kind, file_name), cache)


def thumbnail_answer(opened: OpenedMedia, cache: str) -> FileAnswer:
    # The disposition of a thumbnail MUST be inline, and SHOULD contain a file name (e.g. thumbnail.png).
    suffix = opened.content_type.partition("/")[2]
    return _answer(opened, disposition("inline", f"thumbnail.{suffix}"), cache)


def _answer(opened: OpenedMedia, content_disposition: str, cache: str) -> FileAnswer:
    headers = {**_SAFETY, "Content-Disposition": content_disposition, "Cache-Control": cache}
    return FileAnswer(opened.file, opened.size_bytes, opened.content_type, headers)


def disposition(kind: str, file_name: str | None) -> str:
    """The header's value as RFC 6266 has it; a name that is not plain ASCII is encoded by RFC 8187."""
    if not file_name:
        return kind
    if file_name.isascii() and file_name.isprintable():
        quoted = file_name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{kind}; filename="{quoted}"'
    return f"{kind}; filename*=utf-8''{quote(file_name, safe='')}"
