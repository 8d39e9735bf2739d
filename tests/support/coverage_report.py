"""Lists the client operations that the server has and no test has called with success.

    python -m tests.support.coverage_report [--reset] [--check]

Run it after the tests. `--check` makes a gap an error (exit status 1); `--reset`, before the tests, forgets
what earlier runs recorded.
"""

import argparse
import sys
from collections.abc import Iterator

from tests.support.coverage import coverage_path, recorded_operations
from tests.support.not_yet import read_not_yet
from tests.support.openapi import Operation, specification


def uncovered() -> Iterator[Operation]:
    recorded = recorded_operations(coverage_path())
    not_yet = read_not_yet()
    for operation in specification().operations():
        delivered = operation.api == "cs" and not any(entry.is_about(operation) for entry in not_yet)
        if delivered and operation.name not in recorded:
            yield operation


def main() -> int:
    parser = argparse.ArgumentParser(description="List the operations that no test has called with success.")
    parser.add_argument("--reset", action="store_true", help="forget what earlier runs recorded, and end")
    parser.add_argument("--check", action="store_true", help="exit with 1 if an operation is missing")
    options = parser.parse_args()
    path = coverage_path()
    if options.reset:
        path.unlink(missing_ok=True)
        return 0
    missing = list(uncovered())
    for operation in missing:
        print(f"{operation.method:6} {operation.path}  ({operation.operation_id})")
    print(
        f"{len(recorded_operations(path))} operations called with success, {len(missing)} missing, by {path}"
    )
    return 1 if missing and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
