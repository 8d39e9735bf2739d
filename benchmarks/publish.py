"""Put the results of a run into the README and docs/: `python -m benchmarks.publish .bench/results`."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = "docs/benchmark"
FILES = ("results.json", "results.md", "results.svg")
BEGIN = "<!-- benchmark: python -m benchmarks.publish writes what is between these marks -->"
END = "<!-- /benchmark -->"


def publish(results: Path, root: Path) -> None:
    """Raises ValueError if the README has no place for the table."""
    readme = root / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("README.md has no marks between which the table would stand")
    run = json.loads((results / "results.json").read_text(encoding="utf-8"))
    folder = root / SHOWN
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(results / name, folder / name)
    table = (results / "summary.md").read_text(encoding="utf-8")
    readme.write_text(
        "".join((before, begin, _describe(run), table, _picture(), end, after)), encoding="utf-8"
    )


def _describe(run: dict[str, object]) -> str:
    versions = run["versions"]
    assert isinstance(versions, list)
    machine = f"Python {run['python']}, {run['machine']}"
    return f"\n\n{', '.join(versions)}; {machine}; {str(run['date'])[:10]}.\n\n"


def _picture() -> str:
    return f"\n![How many times less processor time than Synapse]({SHOWN}/results.svg)\n\n"


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit("usage: python -m benchmarks.publish FOLDER")
    publish(Path(arguments[0]), ROOT)


if __name__ == "__main__":
    main(sys.argv[1:])
