"""Which operations of the specification the tests have called with success.

Each validated answer of 2xx adds a line to a file; every process of a test run writes to the same one. The
environment variable POPCUBE_API_COVERAGE names it, else it is in the temporary directory.
`tests.support.coverage_report` reads it.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path

from tests.support.openapi import CHECKOUT, Operation


def coverage_path() -> Path:
    named = os.environ.get("POPCUBE_API_COVERAGE")
    if named:
        return Path(named).resolve()
    checkout = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"popcube-api-coverage-{os.getuid()}-{checkout}.jsonl"


class CoverageRecorder:
    """Writes to one coverage file. Each operation is written once per recorder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recorded: set[str] = set()

    def recorded(self) -> frozenset[str]:
        """The names of the operations recorded here."""
        return frozenset(self._recorded)

    def record(self, operation: Operation, status: int) -> None:
        """Call it when an answer has been validated. Only 2xx counts."""
        if not 200 <= status < 300 or operation.name in self._recorded:
            return
        self._recorded.add(operation.name)
        line = json.dumps({"operation": operation.name, "status": status}) + "\n"
        # One write of a short line in append mode is not torn apart by another process.
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())


def recorded_operations(path: Path) -> frozenset[str]:
    """The names of the operations in a coverage file; none if there is no file."""
    if not path.exists():
        return frozenset()
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(json.loads(line)["operation"] for line in lines)
