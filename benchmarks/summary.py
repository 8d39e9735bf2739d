"""Results as one short Markdown table, for people who want to know how fast, not why."""

from collections.abc import Mapping

from benchmarks.goals import find_goal
from benchmarks.results import Figures, Results
from benchmarks.site import SiteName
from benchmarks.table import DATABASE_TITLES, cpu_ratio, lay_out, short


def render(results: Results) -> str:
    """For each database ours / Synapse's, in milliseconds of server and database together, and how many times less."""
    databases = results.databases()
    lines = [
        ["CPU per operation, ms: ours / Synapse", *(DATABASE_TITLES[name] for name in databases), "goal"]
    ]
    for title, sites in results.rows():
        cells = [_cell(sites, database, find_goal(title)) for database in databases]
        if any(cells):
            lines.append([title, *cells, f"{find_goal(title):g}"])
    return lay_out(lines)


def _cell(sites: Mapping[SiteName, Figures], database: str, goal: float) -> str:
    """Bold where the goal is reached; empty where there is nothing to compare."""
    times = cpu_ratio(sites, database)
    if times is None:
        return ""
    shown = " / ".join(short(sites[SiteName(database, server)].cpu_ms) for server in ("ours", "synapse"))
    # As it is shown: 14.96 is 15.0 times.
    return f"{shown} (**{times:.1f}**)" if round(times, 1) >= goal else f"{shown} ({times:.1f})"
