"""What two sites cost an organization: replication lag, processor time, catching up, waiting for the peer.

    python -m benchmarks.sites [--database postgres|sqlite] [--smoke] [--output .bench/sites]

Both sites, the relay between them and the clients are on this machine; PostgreSQL writes each commit to the disk. It
prints a table and writes `sites-postgres.json` or `sites-sqlite.json`. Memory is that of the servers, processor time
that of servers and databases.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.sites_load import CATCH_UP_S, SitesUnderLoad

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class SitesPlan:
    """How much is measured."""

    rate: float
    """Messages a second, in the steady part."""
    seconds: float
    backlog: int
    """Messages that are sent while the link is cut."""
    clients: int
    """That wait for their answers."""
    answers: int
    """They wait for, all together."""


FULL: Final = SitesPlan(rate=100, seconds=30, backlog=36_000, clients=8, answers=4000)
"""The backlog is an hour at ten messages a second."""
SMOKE: Final = SitesPlan(rate=20, seconds=1, backlog=60, clients=4, answers=40)


def percentile_ms(values: Sequence[float], share: float) -> float:
    """Of seconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure_steady(sites: SitesUnderLoad, plan: SitesPlan) -> Figures:
    before = sites.cpu_s()
    times = asyncio.run(sites.send_steadily(plan.rate, plan.seconds))
    after = sites.cpu_s()
    lags, count = times.lags(), len(times.answered)
    return {
        "messages": count,
        "send_p50_ms": percentile_ms(times.latencies, 0.5),
        "send_p99_ms": percentile_ms(times.latencies, 0.99),
        "lag_p50_ms": percentile_ms(lags, 0.5),
        "lag_p99_ms": percentile_ms(lags, 0.99),
        **_cpu_ms(before, after, count),
    }


def measure_answers(sites: SitesUnderLoad, plan: SitesPlan) -> Figures:
    before, begun_s = sites.cpu_s(), time.monotonic()
    times = asyncio.run(sites.send_many(plan.answers, plan.clients))
    took_s = time.monotonic() - begun_s
    _await_quiet(sites)
    return {
        "clients": plan.clients,
        "per_second": plan.answers / took_s,
        "send_p50_ms": percentile_ms(times.latencies, 0.5),
        "send_p99_ms": percentile_ms(times.latencies, 0.99),
        **_cpu_ms(before, sites.cpu_s(), plan.answers),
    }


def measure_catching_up(sites: SitesUnderLoad, plan: SitesPlan) -> Figures:
    sites.forget_peaks()
    memory_before = sites.peaks_mib()
    sites.cut()
    times = asyncio.run(sites.send_many(plan.backlog, plan.clients))
    behind = sites.backlog()
    sites.forget_peaks()
    before, begun_s = sites.cpu_s(), time.monotonic()
    sites.heal()
    _await_quiet(sites)
    took_s = time.monotonic() - begun_s
    if not sites.has_there(max(times.answered, key=times.answered.__getitem__)):
        raise SystemExit("the other site says that it has everything, and has not")
    anna, berta = sites.peaks_mib()
    return {
        "messages": plan.backlog,
        "backlog": behind,
        "seconds": took_s,
        "per_second": plan.backlog / took_s,
        "anna_before_mib": memory_before[0],
        "berta_before_mib": memory_before[1],
        "anna_peak_mib": anna,
        "berta_peak_mib": berta,
        **_cpu_ms(before, sites.cpu_s(), plan.backlog),
    }


def _await_quiet(sites: SitesUnderLoad) -> None:
    until_s = time.monotonic() + CATCH_UP_S
    while sites.backlog() > 0:
        if time.monotonic() > until_s:
            raise SystemExit(f"not caught up after {CATCH_UP_S:g} s")
        time.sleep(0.05)


def _cpu_ms(before: Sequence[float], after: Sequence[float], count: int) -> Figures:
    anna, berta = (1000 * (end - begin) / count for begin, end in zip(before, after, strict=True))
    return {"anna_cpu_ms": anna, "berta_cpu_ms": berta}


def measure(database: str, plan: SitesPlan, say: Callable[[str], None]) -> dict[str, Figures]:
    """Figures by what was measured."""
    measured: dict[str, Figures] = {}
    for durability in ("local", "site"):
        say(f"{database}, durability {durability}")
        with _sites(database, durability) as sites:
            measured[f"steady, {durability}"] = measure_steady(sites, plan)
            measured[f"answers, {durability}"] = measure_answers(sites, plan)
            if durability == "local" and plan.backlog:
                say(f"{database}, catching up with {plan.backlog} messages")
                measured["catching up"] = measure_catching_up(sites, plan)
    return measured


@contextmanager
def _sites(database: str, durability: str) -> Iterator[SitesUnderLoad]:
    with tempfile.TemporaryDirectory(prefix="popcube-sites-") as directory:
        sites = SitesUnderLoad(Path(directory) / "sites", database, durability)
        try:
            sites.start()
            yield sites
        finally:
            sites.end()


def render(database: str, plan: SitesPlan, measured: dict[str, Figures]) -> str:
    """A table in Markdown."""
    local, site = measured["steady, local"], measured["steady, site"]
    waiting, waiting_site = measured["answers, local"], measured["answers, site"]
    rows = [
        ("measured", "`durability: local`", "`durability: site`"),
        ("---", "---", "---"),
        (f"{plan.rate:g} messages a second: send, p50 / p99", _ms(local, "send"), _ms(site, "send")),
        (
            "lag until a sync at the other site has the message, p50 / p99",
            _ms(local, "lag"),
            "before the answer",
        ),
        ("CPU per message: the site that sends / the other one", _cpu(local), _cpu(site)),
        (
            f"{plan.clients} clients that wait: send, p50 / p99",
            _ms(waiting, "send"),
            _ms(waiting_site, "send"),
        ),
        ("messages a second", f"{waiting['per_second']:.0f}", f"{waiting_site['per_second']:.0f}"),
        ("CPU per message", _cpu(waiting), _cpu(waiting_site)),
    ]
    if "catching up" in measured:
        up = measured["catching up"]
        memory = (
            "{anna_peak_mib:.0f} / {berta_peak_mib:.0f} MiB ({anna_before_mib:.0f} / {berta_before_mib:.0f})"
        )
        speed = f"{up['seconds']:.1f} s, {up['per_second']:.0f} a second"
        rows += [
            (f"catching up with {plan.backlog:,} messages sent during a cut", speed, ""),
            ("CPU per message meanwhile", _cpu(up), ""),
            ("memory at most, the site that has them / the other one (before)", memory.format(**up), ""),
        ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"Two sites on {database}:", "", *lines])


def _ms(figures: Figures, name: str) -> str:
    return f"{figures[name + '_p50_ms']:.0f} / {figures[name + '_p99_ms']:.0f} ms"


def _cpu(figures: Figures) -> str:
    return f"{figures['anna_cpu_ms']:.1f} / {figures['berta_cpu_ms']:.1f} ms"


def write(directory: Path, database: str, plan: SitesPlan, measured: dict[str, Figures]) -> Path:
    """The figures as JSON; the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"sites-{database}.json"
    written: dict[str, Any] = {"database": database, "plan": asdict(plan), "measured": measured}
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--smoke", action="store_const", dest="plan", const=SMOKE, default=FULL)
    parser.add_argument("--rate", type=float, help="messages per second in the steady part")
    parser.add_argument("--seconds", type=float, help="how long that is")
    parser.add_argument("--backlog", type=int, help="messages that are sent while the link is cut; 0: none")
    parser.add_argument(
        "--output", type=Path, default=Path(".bench/sites"), help="the folder for the JSON file"
    )
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("rate", "seconds", "backlog")}
    plan = replace(options.plan, **{name: value for name, value in given.items() if value is not None})
    measured = measure(options.database, plan, lambda text: print(text, flush=True))
    print(render(options.database, plan, measured))
    print(f"Written: {write(options.output, options.database, plan, measured)}")


if __name__ == "__main__":
    main()
