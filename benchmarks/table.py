"""Results as Markdown: one table for each database, each cell ours, Synapse's, and the ratio."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.goals import find_goal
from benchmarks.results import Figures, Results
from benchmarks.site import SiteName

DATABASE_TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
HEAD = (
    "work",
    "operations/s",
    "p50 ms",
    "p99 ms",
    "server CPU ms",
    "database CPU ms",
    "CPU, ratio",
    "goal",
    "peak MiB",
    "growth B",
)
UNKNOWN = "–"  # noqa: RUF001 - a dash is what stands in an empty cell


def render(results: Results) -> str:
    """In every cell: ours / Synapse's (how many times better ours is). Of CPU, both processes together."""
    return "\n".join(_render_database(results, database) for database in results.databases())


def _render_database(results: Results, database: str) -> str:
    lines = [[*HEAD]]
    for title, sites in results.rows():
        ours = sites.get(SiteName(database, "ours"))
        synapse = sites.get(SiteName(database, "synapse"))
        if ours is not None or synapse is not None:
            lines.append([title, *_cells(title, ours, synapse)])
    return f"{DATABASE_TITLES[database]}: ours / Synapse (ratio)\n\n{lay_out(lines)}"


def lay_out(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table of which the first line is the head, all columns but the first set right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]]) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join([first, *(cell.strip().rjust(len(cell)) for cell in rest)])} |"


def _cells(title: str, ours: Figures | None, synapse: Figures | None) -> Sequence[str]:
    cpu = ratio(ours, synapse, lambda one: one.cpu_ms)
    return [
        _cell(ours, synapse, lambda one: one.per_second, is_more_better=True),
        _cell(ours, synapse, lambda one: one.p50_ms, is_more_better=False),
        _cell(ours, synapse, lambda one: one.p99_ms, is_more_better=False),
        _cell(ours, synapse, lambda one: one.server_cpu_ms, is_more_better=False),
        _cell(ours, synapse, lambda one: one.database_cpu_ms, is_more_better=False),
        UNKNOWN if cpu is None else f"{cpu:.1f}",
        f"{find_goal(title):g}",
        _cell(ours, synapse, lambda one: one.peak_mib, is_more_better=False),
        _growth(ours, synapse),
    ]


def _cell(
    ours: Figures | None, synapse: Figures | None, figure: Callable[[Figures], float], *, is_more_better: bool
) -> str:
    shown = " / ".join(UNKNOWN if one is None else short(figure(one)) for one in (ours, synapse))
    times = ratio(synapse, ours, figure) if is_more_better else ratio(ours, synapse, figure)
    return shown if times is None else f"{shown} ({times:.1f})"


def _growth(ours: Figures | None, synapse: Figures | None) -> str:
    """Empty in the rows where it was not measured."""
    if not any(one is not None and one.grown_bytes for one in (ours, synapse)):
        return ""
    return _cell(ours, synapse, lambda one: one.grown_bytes, is_more_better=False)


def ratio(below: Figures | None, above: Figures | None, figure: Callable[[Figures], float]) -> float | None:
    """None if either is missing or too small to have been measured."""
    if below is None or above is None or figure(below) <= 0 or figure(above) <= 0:
        return None
    return figure(above) / figure(below)


def short(value: float) -> str:
    """Three figures."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cpu_ratio(sites: Mapping[SiteName, Figures], database: str) -> float | None:
    """How many times less processor time, server and database together, ours takes."""
    ours, synapse = sites.get(SiteName(database, "ours")), sites.get(SiteName(database, "synapse"))
    return ratio(ours, synapse, lambda one: one.cpu_ms)
