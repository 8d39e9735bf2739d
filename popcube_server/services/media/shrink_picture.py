"""Has a thumbnail made, by a process of its own (see thumbnail_process.py)."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Protocol

from popcube_server.services.errors import TooLarge, WithCode
from storage.media import ThumbnailKey
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

PROGRAM = Path(__file__).with_name("thumbnail_process.py")
TIMEOUT_S = 60.0
MAX_ANSWER_LINE = 100

_ANSWER = re.compile(rb"(?P<outcome>made|original) (?P<content_type>image/(?:jpeg|png|gif|webp))\n")

# What a foreign build of a library may need to be found. The rest of the environment may hold secrets.
_PASSED_ON = ("LD_LIBRARY_PATH", "PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What came of it: a new file's type, or, if `is_original`, the type of the picture, which is small enough."""

    content_type: str
    is_original: bool


class ShrinkPicture(Protocol):
    """Makes one thumbnail. Blocks: called on a thread."""

    def shrink(self, source: IO[bytes], wanted: ThumbnailKey, target: IO[bytes]) -> Shrunk:
        """Both are files of the operating system; `target` stands at the thumbnail's first byte afterwards.

        Raises `TooLarge`, or 400 for what is no picture.
        """


class ShrinkInProcess:
    """Runs the program once per thumbnail."""

    def __init__(self, max_pixels: int, program: Path = PROGRAM, timeout_s: float = TIMEOUT_S) -> None:
        self._max_pixels = max_pixels
        self._program = program
        self._timeout_s = timeout_s

    def shrink(self, source: IO[bytes], wanted: ThumbnailKey, target: IO[bytes]) -> Shrunk:
        if not _looks_like_picture(source.read(16)):
            raise _no_picture()
        source.seek(0)
        os.lseek(source.fileno(), 0, os.SEEK_SET)
        self._run(source, wanted, target)
        target.seek(0)
        return self._read_answer(target.readline(MAX_ANSWER_LINE))

    def _read_answer(self, line: bytes) -> Shrunk:
        if line == b"too_large\n":
            # Homeservers should not attempt to generate thumbnails for images that are too large: 413 M_TOO_LARGE.
            raise TooLarge(f"The picture has more than {self._max_pixels} pixels.")
        # The picture may have taken over the process: its answer is input like any other.
        answer = _ANSWER.fullmatch(line)
        if answer is None:
            raise _no_picture()
        return Shrunk(answer["content_type"].decode(), answer["outcome"] == b"original")

    def _run(self, source: IO[bytes], wanted: ThumbnailKey, target: IO[bytes]) -> None:
        order = {
            "width": wanted.width,
            "height": wanted.height,
            "method": wanted.method,
            "animated": wanted.animated,
            "max_pixels": self._max_pixels,
        }
        try:
            subprocess.run(  # noqa: S603 (nothing of the command comes from outside)
                [sys.executable, "-I", str(self._program), json.dumps(order)],
                stdin=source,
                stdout=target,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                timeout=self._timeout_s,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            # It broke off, or wanted more memory or time than it may have: in any case no thumbnail.
            logger.info("No thumbnail was made: %s", _reason(error))
            raise _no_picture() from error


def _looks_like_picture(head: bytes) -> bool:
    """Whether a process is worth its while. Encrypted files, for one, are stopped here."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    )


def _reason(error: subprocess.SubprocessError) -> str:
    # The error's own text has the whole command in it.
    if isinstance(error, subprocess.CalledProcessError):
        return f"the process ended with {error.returncode}"
    return "the process took too long"


def _no_picture() -> WithCode:
    # 400: the server cannot thumbnail the content.
    return WithCode(400, "M_UNKNOWN", "Cannot make a thumbnail of this content.")
