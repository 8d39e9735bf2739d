"""A body of several parts (RFC 2046, 5.1), read while it arrives.

    body = preamble? "--" boundary padding CRLF part *( CRLF "--" boundary padding CRLF part )
           CRLF "--" boundary "--" epilogue?
    part = *( header CRLF ) CRLF data

Whatever comes, and however it is cut into pieces, no more than a little of it is held back.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum

from synapse_like_config.lazy_dataclasses import dataclass

MAX_BOUNDARY_CHARS = 70
"""Boundaries "must be no longer than 70 characters"."""
MAX_HEAD_BYTES = 16 * 1024
"""All headers of a part together; and what may stand before the first part."""
MAX_PADDING_BYTES = 256

_PARAMETER = re.compile(
    r";[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*"
    r"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s\";]+))[ \t]*"
)
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_HEADER = re.compile(rb"(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(?P<value>[^\r\n\0]*?)[ \t]*")


class InvalidMultipart(ValueError):
    """The body is not what its type says, or too much of one kind."""


@dataclass(frozen=True, slots=True)
class PartHead:
    """A part begins. Header names are in lower case; the first of a repeated header counts."""

    headers: Mapping[str, str]


class PartEnd:
    """A part is complete."""


class _State(Enum):
    PREAMBLE = "before the first part"
    PADDING = "behind a boundary"
    HEAD = "in the headers of a part"
    START = "before the data of a part"
    DATA = "in the data of a part"
    CLOSED = "behind the last boundary"


def parse_boundary(content_type: str) -> bytes:
    """The boundary of a `multipart/mixed` type. Raises InvalidMultipart."""
    media_type, _, _ = content_type.partition(";")
    if media_type.strip().lower() != "multipart/mixed":
        raise InvalidMultipart("the answer is not multipart/mixed")
    position = content_type.find(";")
    while position >= 0:
        match = _PARAMETER.match(content_type, position)
        if match is None:
            break
        if match["name"].lower() == "boundary":
            quoted = match["quoted"]
            boundary = match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            if not _BOUNDARY.fullmatch(boundary):
                raise InvalidMultipart("the boundary is none")
            return boundary.encode("ascii")
        position = match.end() if content_type[match.end() : match.end() + 1] == ";" else -1
    raise InvalidMultipart("the answer has no boundary")


class MultipartReader:
    """Cuts a body into its parts. After an InvalidMultipart it is of no more use."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._state = _State.PREAMBLE
        # The first boundary may stand at the very beginning: then there is no line that it ends.
        self._held = bytearray(b"\r\n")

    @property
    def is_complete(self) -> bool:
        """Whether the last boundary has come; what follows is without meaning."""
        return self._state is _State.CLOSED

    def feed(self, data: bytes) -> Iterator[PartHead | bytes | PartEnd]:
        """What is certain with this piece, in order. Exhaust it before the next call. Raises InvalidMultipart."""
        self._held += data
        while True:
            before = self._state, len(self._held)
            yield from self._step()
            if before == (self._state, len(self._held)):
                return

    def _step(self) -> Iterator[PartHead | bytes | PartEnd]:
        match self._state:
            case _State.PREAMBLE:
                self._skip_preamble()
            case _State.PADDING:
                self._read_padding()
            case _State.HEAD:
                yield from self._read_head()
            case _State.START:
                yield from self._begin_data()
            case _State.DATA:
                yield from self._take_data()
            case _State.CLOSED:
                self._held.clear()

    def _skip_preamble(self) -> None:
        at = self._held.find(self._delimiter)
        if at >= 0:
            self._go(at + len(self._delimiter), _State.PADDING)
        elif len(self._held) > MAX_HEAD_BYTES:
            raise InvalidMultipart("the first part does not begin")

    def _read_padding(self) -> None:
        """Behind a boundary: "--" if it is the last, else blanks and the end of the line."""
        if self._held.startswith(b"--"):
            self._go(2, _State.CLOSED)
            return
        end = self._held.find(b"\r\n")
        padding = bytes(self._held.removesuffix(b"\r") if end < 0 else self._held[:end])
        may_be_last = end < 0 and padding == b"-"
        if len(padding) > MAX_PADDING_BYTES or (padding.strip(b" \t") and not may_be_last):
            raise InvalidMultipart("the boundary goes on")
        if end >= 0:
            # The end of the line stays: without headers it is at once the one before the empty line.
            self._go(end, _State.HEAD)

    def _read_head(self) -> Iterator[PartHead]:
        """Held is CRLF, headers that end with CRLF each, CRLF."""
        end = self._held.find(b"\r\n\r\n")
        if max(end, 0) > MAX_HEAD_BYTES or (end < 0 and len(self._held) > MAX_HEAD_BYTES):
            raise InvalidMultipart("the headers of a part are too large")
        if end >= 0:
            head = _parse_head(bytes(self._held[2:end]))
            self._go(end + 2, _State.START)
            yield head

    def _begin_data(self) -> Iterator[PartEnd]:
        """Held is CRLF, which ends the headers, or belongs to a boundary if there are no data at all."""
        if len(self._held) < len(self._delimiter) and self._delimiter.startswith(self._held):
            return
        if self._held.startswith(self._delimiter):
            self._go(len(self._delimiter), _State.PADDING)
            yield PartEnd()
        else:
            self._go(2, _State.DATA)

    def _take_data(self) -> Iterator[bytes | PartEnd]:
        at = self._held.find(self._delimiter)
        if at < 0:
            # What could be the beginning of a boundary waits for the next piece.
            sure = len(self._held) - len(self._delimiter) + 1
            if sure > 0:
                data = bytes(self._held[:sure])
                self._go(sure, _State.DATA)
                yield data
            return
        data = bytes(self._held[:at])
        self._go(at + len(self._delimiter), _State.PADDING)
        if data:
            yield data
        yield PartEnd()

    def _go(self, length: int, state: _State) -> None:
        del self._held[:length]
        self._state = state


def _parse_head(text: bytes) -> PartHead:
    headers: dict[str, str] = {}
    for line in text.split(b"\r\n") if text else ():
        match = _HEADER.fullmatch(line)
        if match is None:
            raise InvalidMultipart("a part has what is no header")
        headers.setdefault(match["name"].decode("ascii").lower(), match["value"].decode("latin-1"))
    return PartHead(headers)
