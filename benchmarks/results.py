"""What was measured, turn by turn, and its medians."""

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.load import Result
from benchmarks.site import SiteName


@dataclass(frozen=True, slots=True)
class Figures:
    """What one operation of one turn took, or the median of several turns."""

    per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    database_cpu_ms: float
    peak_mib: float
    grown_bytes: float = 0.0
    """By how much the database grew; 0 where that was not measured."""

    @property
    def cpu_ms(self) -> float:
        return self.server_cpu_ms + self.database_cpu_ms


def figures_of(result: Result) -> Figures:
    return Figures(
        per_second=result.per_second,
        p50_ms=result.percentile_ms(0.5),
        p99_ms=result.percentile_ms(0.99),
        server_cpu_ms=result.server_ms,
        database_cpu_ms=result.database_ms,
        peak_mib=result.peak_mib,
        grown_bytes=result.grown_bytes / result.operations,
    )


def median(turns: Sequence[Figures]) -> Figures:
    """Of each figure by itself."""
    values = [asdict(turn) for turn in turns]
    return Figures(**{name: statistics.median(value[name] for value in values) for name in values[0]})


class Results:
    """The rows of a run, in the order in which they were first filled."""

    def __init__(self) -> None:
        self._turns: dict[str, dict[SiteName, list[Figures]]] = {}

    def add(self, row: str, site: SiteName, result: Result) -> None:
        self._turns.setdefault(row, {}).setdefault(site, []).append(figures_of(result))

    def add_turns(self, row: Mapping[str, Any]) -> None:
        """One object of `to_json`."""
        site = SiteName(row["database"], row["server"])
        turns = [Figures(**turn) for turn in row["turns"]]
        self._turns.setdefault(row["work"], {}).setdefault(site, []).extend(turns)

    def forget(self, rows: Collection[str]) -> None:
        """The turns of these rows; each keeps its place."""
        for row in self._turns.keys() & set(rows):
            self._turns[row] = {}

    def rows(self) -> Iterator[tuple[str, Mapping[SiteName, Figures]]]:
        for row, sites in self._turns.items():
            yield row, {site: median(turns) for site, turns in sites.items()}

    def databases(self) -> Sequence[str]:
        return sorted({site.database for sites in self._turns.values() for site in sites}, reverse=True)

    def to_json(self) -> Sequence[Any]:
        """One object for each row and site: the medians, and each turn."""
        return [
            {
                "work": row,
                "server": site.server,
                "database": site.database,
                "median": asdict(median(turns)),
                "turns": [asdict(turn) for turn in turns],
            }
            for row, sites in self._turns.items()
            for site, turns in sorted(sites.items())
        ]
