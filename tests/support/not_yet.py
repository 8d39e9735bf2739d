"""The list of operations that the server does not have yet, `tests/integration/not_yet.txt`.

A line is `METHOD /path`, or `METHOD /path operationId` for one of two operations that share a path. A line that
starts with `#` is the reason for those that follow it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.support.openapi import CHECKOUT, Operation

NOT_YET_PATH = CHECKOUT / "tests" / "integration" / "not_yet.txt"


@dataclass(frozen=True)
class NotYet:
    """A line of the list. `path` is `METHOD /path`; `operation_id` may be empty."""

    path: str
    operation_id: str
    reason: str

    def is_about(self, operation: Operation) -> bool:
        same_path = self.path == f"{operation.method} {operation.path}"
        return same_path and self.operation_id in ("", operation.operation_id)


def parse_not_yet(text: str) -> Iterator[NotYet]:
    reason = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line:
            method, path, *operation_id = line.split()
            yield NotYet(f"{method} {path}", "".join(operation_id), reason)


def read_not_yet() -> Sequence[NotYet]:
    return tuple(parse_not_yet(NOT_YET_PATH.read_text(encoding="utf-8")))
