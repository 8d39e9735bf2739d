"""The files that a run leaves."""

import datetime as dt
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import plot, summary, table
from benchmarks.results import Results
from benchmarks.sizes import Sizes


def describe_run(sizes: Sizes, versions: Sequence[str]) -> dict[str, Any]:
    """When and on what it ran, as far as it matters for the figures."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        "versions": list(versions),
        "sizes": asdict(sizes),
    }


def write(directory: Path, run: dict[str, Any], results: Results) -> str:
    """Write `results.json`, `results.md`, `results.svg` and `summary.md`; the tables."""
    directory.mkdir(parents=True, exist_ok=True)
    rendered = table.render(results)
    document = json.dumps({**run, "rows": results.to_json()}, indent=2)
    (directory / "results.json").write_text(document + "\n", encoding="utf-8")
    (directory / "results.md").write_text(rendered, encoding="utf-8")
    (directory / "summary.md").write_text(summary.render(results), encoding="utf-8")
    (directory / "results.svg").write_text(plot.render(results), encoding="utf-8")
    return rendered
