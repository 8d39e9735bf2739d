"""Put the rows of several runs, each of some kinds of work, together: `python -m benchmarks.merge OUT RUN RUN...`.

What was measured again in a later run takes the place of what it replaces.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.results import Results

SAME = ("python", "machine", "versions")


def merge(runs: Sequence[Path], output: Path) -> str:
    """The tables. Raises ValueError if the runs are of different versions or machines."""
    documents = [json.loads((run / "results.json").read_text(encoding="utf-8")) for run in runs]
    first = documents[0]
    results = Results()
    for document in documents:
        if any(document[name] != first[name] for name in SAME):
            raise ValueError("these runs are of different versions or machines")
        results.forget({row["work"] for row in document["rows"]})
        for row in document["rows"]:
            results.add_turns(row)
    return report.write(
        output, {**_without_rows(first), "runs": list(map(_without_rows, documents))}, results
    )


def _without_rows(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "rows"}


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 2:
        raise SystemExit("usage: python -m benchmarks.merge OUT RUN...")
    print(merge([Path(run) for run in arguments[1:]], Path(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
