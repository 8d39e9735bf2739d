"""What the media endpoints, old and new, have in common: reading the request, and heads that are safe to show."""

from urllib.parse import quote

from popcube_server.rest.endpoint import Call, FileAnswer
from popcube_server.rest.parse import query_bool, query_choice, query_int, query_string
from popcube_server.services.errors import InvalidParam
from popcube_server.services.media.content_type import clean_content_type
from popcube_server.services.media.download_media import OpenedMedia
from popcube_server.services.media.file_name import MAX_FILE_NAME_BYTES
from popcube_server.services.media.media_address import MAX_WAIT_MS, MediaRequest, parse_media_address
from popcube_server.services.media.receive_content import Upload
from popcube_server.services.media.thumbnail_sizes import WantedThumbnail

DEFAULT_WAIT_MS = 20_000
MAX_SIDE = 100_000

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


def parse_upload(call: Call) -> Upload:
    """Raises `InvalidParam` for a file name that is too long."""
    file_name = call.query_one("filename") or None
    if file_name is not None:
        check_file_name(file_name)
    # Defaults to application/octet-stream if it is not set.
    content_type = clean_content_type(call.content_type)
    return Upload(call.content, call.content_length, content_type, file_name)


def check_file_name(file_name: str) -> None:
    if len(file_name.encode()) > MAX_FILE_NAME_BYTES:
        raise InvalidParam(f"The file name is longer than {MAX_FILE_NAME_BYTES} bytes.")


def parse_request(call: Call) -> MediaRequest:
    """Raises `NotFound` for an impossible mxc:// URI, `InvalidParam`."""
    return MediaRequest(
        parse_media_address(call.path["server_name"], call.path["media_id"]),
        query_int(call, "timeout_ms", DEFAULT_WAIT_MS, 0, MAX_WAIT_MS),
        query_bool(call, "allow_remote", True),
        call.client_address,
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


def disposition_kind(content_type: str) -> str:
    """`inline` for what may be shown, else `attachment`."""
    media_type = content_type.partition(";")[0].strip().lower()
    return "inline" if media_type in INLINE_TYPES else "attachment"


def media_answer(opened: OpenedMedia, cache: str) -> FileAnswer:
    """`cache` is the value of Cache-Control. The file name is the uploader's."""
    return named_answer(opened, opened.file_name, cache)


def named_answer(opened: OpenedMedia, file_name: str | None, cache: str) -> FileAnswer:
    return _answer(opened, disposition(disposition_kind(opened.content_type), file_name), cache)


def thumbnail_answer(opened: OpenedMedia, cache: str) -> FileAnswer:
    return _answer(opened, thumbnail_disposition(opened.content_type), cache)


def thumbnail_disposition(content_type: str) -> str:
    # The disposition of a thumbnail MUST be inline, and SHOULD contain a file name (e.g. thumbnail.png).
    return disposition("inline", f"thumbnail.{content_type.partition('/')[2]}")


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
