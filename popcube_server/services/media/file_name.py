"""The file name in a Content-Disposition header (RFC 6266)."""

import re
from urllib.parse import unquote_to_bytes

MAX_FILE_NAME_BYTES = 1024

_PARAMETER = re.compile(
    r";[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*"
    r"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s\";]+))[ \t]*"
)
_ESCAPED = re.compile(r"\\(.)")


def parse_file_name(header: str | None) -> str | None:
    """The name that another server gives, or None. `header` is what came, read as Latin-1."""
    header = header or ""
    found: dict[str, str] = {}
    position = header.find(";")
    while position >= 0 and (match := _PARAMETER.match(header, position)) is not None:
        quoted = match["quoted"]
        value = match["bare"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        found.setdefault(match["name"].lower(), value)
        position = match.end() if header[match.end() : match.end() + 1] == ";" else -1
    # RFC 6266, 4.3: "recipients SHOULD pick 'filename*' and ignore 'filename'" if both are there and understood.
    name = _decode_extended(found["filename*"]) if "filename*" in found else None
    if name is None and "filename" in found:
        name = _decode_plain(found["filename"])
    if not name or len(name.encode()) > MAX_FILE_NAME_BYTES:
        return None
    return name


def _decode_extended(value: str) -> str | None:
    """RFC 8187: `UTF-8'language'percent-encoded`."""
    charset, _, rest = value.partition("'")
    _, mark, text = rest.partition("'")
    if charset.lower() != "utf-8" or not mark or not text.isascii():
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return None


def _decode_plain(value: str) -> str | None:
    # What is not ASCII should not be there; servers that do it all the same mean UTF-8.
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return None
