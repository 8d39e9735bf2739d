"""Results as an SVG: how many times less processor time than Synapse's an operation takes, a bar for each."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.goals import find_goal
from benchmarks.results import Figures, Results
from benchmarks.site import SiteName
from benchmarks.table import DATABASE_TITLES, cpu_ratio

GOAL_COLOR = "#2a7a2a"
COLORS = {"sqlite": "#4c78a8", "postgres": "#f58518"}
LABELS_WIDTH = 400
BARS_WIDTH = 560
TOP = 74
BAR_HEIGHT = 11
ROW_GAP = 8
LINES = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def render(results: Results) -> str:
    """Logarithmic: to the right of the line at 1 ours takes less."""
    databases = results.databases()
    rows = [
        (title, sites)
        for title, sites in results.rows()
        if any(cpu_ratio(sites, database) is not None for database in databases)
    ]
    ratios = [
        found
        for _, sites in rows
        for database in databases
        if (found := cpu_ratio(sites, database)) is not None
    ]
    scale = _Scale(min([0.8, *ratios]), max([*ratios, *(find_goal(title) for title, _ in rows), 2.0]) * 1.3)
    row_height = len(databases) * BAR_HEIGHT + ROW_GAP
    height = TOP + row_height * len(rows) + 20
    parts = [
        *_frame(height, databases),
        *_grid(scale, height),
        *(
            part
            for index, (title, sites) in enumerate(rows)
            for part in _row(title, sites, databases, scale, TOP + index * row_height)
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Scale:
    """From ratios to places, logarithmically."""

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high

    def __contains__(self, value: float) -> bool:
        return self._low <= value <= self._high

    def place(self, value: float) -> float:
        share = math.log(value / self._low) / math.log(self._high / self._low)
        return LABELS_WIDTH + share * BARS_WIDTH


def _svg_start(width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="#222">'
    )


def _frame(height: int, databases: Sequence[str]) -> Sequence[str]:
    width = LABELS_WIDTH + BARS_WIDTH + 20
    title = "Processor time per operation, server and database: how many times less than Synapse"
    parts = [
        _svg_start(width, height),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="22" font-size="15" font-weight="bold">{title}</text>',
    ]
    for index, database in enumerate(databases):
        x = 10 + index * 110
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{COLORS[database]}"/>')
        parts.append(f'<text x="{x + 18}" y="44">{DATABASE_TITLES[database]}</text>')
    x = 10 + len(databases) * 110
    parts.append(f'<line x1="{x + 6}" y1="33" x2="{x + 6}" y2="47" stroke="{GOAL_COLOR}" stroke-width="2"/>')
    parts.append(f'<text x="{x + 18}" y="44">goal</text>')
    return parts


def _grid(scale: _Scale, height: int) -> Sequence[str]:
    parts = []
    for value in LINES:
        if value in scale:
            x = scale.place(value)
            color = "#222" if value == 1 else "#ddd"
            parts.append(
                f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 12}" stroke="{color}"/>'
            )
            parts.append(
                f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle" fill="#666">{value:g}×</text>'  # noqa: RUF001
            )
    return parts


def _row(
    title: str, sites: Mapping[SiteName, Figures], databases: Sequence[str], scale: _Scale, top: int
) -> Sequence[str]:
    middle = top + len(databases) * BAR_HEIGHT / 2 + 4
    parts = [f'<text x="{LABELS_WIDTH - 8}" y="{middle:.1f}" text-anchor="end">{escape(title)}</text>']
    for index, database in enumerate(databases):
        found = cpu_ratio(sites, database)
        if found is None:
            continue
        y = top + index * BAR_HEIGHT
        one, end = scale.place(1), scale.place(found)
        parts.append(
            f'<rect x="{min(one, end):.1f}" y="{y}" width="{abs(end - one):.1f}" height="{BAR_HEIGHT - 1}" '
            f'fill="{COLORS[database]}"/>'
        )
        parts.append(
            f'<text x="{max(one, end) + 4:.1f}" y="{y + BAR_HEIGHT - 2}" font-size="10">{found:.1f}</text>'
        )
    goal, bottom = scale.place(find_goal(title)), top + len(databases) * BAR_HEIGHT
    parts.append(
        f'<line x1="{goal:.1f}" y1="{top - 2}" x2="{goal:.1f}" y2="{bottom + 1}" stroke="{GOAL_COLOR}" '
        'stroke-width="2"/>'
    )
    return parts
