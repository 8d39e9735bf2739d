"""Media types that strangers give, made fit to be sent on."""

import re

UNKNOWN_TYPE = "application/octet-stream"
MAX_CHARS = 255

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_CONTENT_TYPE = re.compile(rf"{_WORD}/{_WORD}(?:[ \t]*;[ -~]*)?")


def clean_content_type(text: str | None) -> str:
    """The type as given, or `application/octet-stream`: what is no media type must not get into an answer's head."""
    given = (text or "").strip(" \t")
    return given if len(given) <= MAX_CHARS and _CONTENT_TYPE.fullmatch(given) else UNKNOWN_TYPE
