"""The command that compares: `python -m benchmarks --help`. `make bench` installs Synapse and runs it."""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.comparison import Comparison, running_sites
from benchmarks.site import SiteName
from benchmarks.sizes import FULL, QUICK, SMOKE, Sizes
from benchmarks.workloads.every import KINDS
from popcube_server.version import VERSION
from tests.support.synapse_process import synapse_python

FOLDER = Path(__file__).resolve().parent.parent / ".bench"
DATABASES = ("sqlite", "postgres")
SERVERS = ("synapse", "ours")


def absolute_path(text: str) -> Path:
    """The servers run in folders of their own. A link stays: it is what tells Python its environment."""
    return Path(text).absolute()


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare this server and Synapse."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_const", dest="sizes", const=QUICK, help="smaller sizes, one turn"
    )
    size.add_argument("--smoke", action="store_const", dest="sizes", const=SMOKE, help="does it work at all?")
    parser.add_argument("--turns", type=int, help="how often each work is measured on each server")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in KINDS], help="repeatable")
    parser.add_argument("--skip", action="append", choices=[kind.name for kind in KINDS], default=[])
    parser.add_argument("--server", action="append", choices=SERVERS, help="repeatable; all by default")
    parser.add_argument("--database", action="append", choices=DATABASES, help="repeatable; all by default")
    parser.add_argument(
        "--huge-room", type=int, metavar="MEMBERS", help="size of the room of the work huge-room"
    )
    parser.add_argument("--huge-room-on-synapse", action="store_true", help="takes an hour or so to prepare")
    parser.add_argument("--synapse-python", type=absolute_path, default=synapse_python())
    parser.add_argument("--output", type=Path, default=FOLDER / "results", help="folder for the results")
    parser.set_defaults(sizes=FULL)
    return parser.parse_args(arguments)


def choose_sizes(arguments: argparse.Namespace) -> Sizes:
    sizes: Sizes = arguments.sizes
    if arguments.turns is not None:
        sizes = replace(sizes, turns=arguments.turns)
    if arguments.huge_room is not None:
        sizes = replace(sizes, huge_room_members=arguments.huge_room)
    return sizes


def find_versions(servers: Sequence[str], python: Path) -> Sequence[str]:
    """Raises SystemExit if Synapse is wanted and not there."""
    versions = [f"popcube-server {VERSION}"]
    if "synapse" in servers:
        if not python.exists():
            raise SystemExit(f"{python} is missing: `make install-synapse` installs Synapse there.")
        asking = "import importlib.metadata as m; print(m.version('matrix-synapse'))"
        command = [str(python), "-c", asking]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        versions.append(f"matrix-synapse {shown.stdout.strip()}")
    return versions


def main(command_line: Sequence[str]) -> None:
    arguments = parse_arguments(command_line)
    sizes = choose_sizes(arguments)
    servers = arguments.server or SERVERS
    # A server waits beside the others while they work; an idle one takes next to nothing.
    names = [SiteName(database, server) for database in arguments.database or DATABASES for server in servers]
    kinds = [
        kind
        for kind in KINDS
        if (not arguments.only or kind.name in arguments.only) and kind.name not in arguments.skip
    ]
    versions = find_versions(servers, arguments.synapse_python)
    begun_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begun_s:7.1f} s  {line}", flush=True)

    run = report.describe_run(sizes, versions)
    with running_sites(names, arguments.synapse_python) as sites:
        comparison = Comparison(sites, sizes, say)
        try:
            comparison.run(kinds, is_synapse_spared=not arguments.huge_room_on_synapse)
        finally:
            # What has been measured is not lost when something fails later.
            print("\n" + report.write(arguments.output, run, comparison.results))
    for failure in comparison.failures:
        print(failure)
    print(f"{', '.join(versions)}; {time.monotonic() - begun_s:.0f} s; see {arguments.output}")
    if comparison.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
