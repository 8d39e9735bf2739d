"""A run: sites that stand side by side and do the same work in turns."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from psycopg2 import sql

from benchmarks.database_size import database_bytes
from benchmarks.load import in_lanes
from benchmarks.processes import process_tree
from benchmarks.results import Results
from benchmarks.servers import OurServer, Process, SynapseServer
from benchmarks.site import Site, SiteName
from benchmarks.sizes import Sizes
from benchmarks.workload import Kind, Workload
from tests.integration.federation.authority import Authority
from tests.support.configuration import Database, SqliteFile
from tests.support.postgres import RunningPostgres, start_postgres

DATABASE_NAME = "bench"


class Comparison:
    """Prepares each kind of work on every site, then measures it on one site after the other, turn by turn."""

    def __init__(self, sites: Sequence[Site], sizes: Sizes, say: Callable[[str], None]) -> None:
        self._sites = sites
        self._sizes = sizes
        self._say = say
        self.results = Results()
        self.failures: list[str] = []
        """What could not be measured, and why; everything else was, all the same."""

    def run(self, kinds: Sequence[Kind], *, is_synapse_spared: bool) -> None:
        """`is_synapse_spared`: leave out on Synapse what takes very long to prepare."""
        for kind in kinds:
            sites = [
                site
                for site in self._sites
                if not (is_synapse_spared and kind.is_long and site.name.server == "synapse")
            ]
            self._run_kind(kind, sites)

    def _run_kind(self, kind: Kind, sites: Sequence[Site]) -> None:
        self._say(f"{kind.name}: preparing")
        # On all of them at once, which takes less of the day: nothing is measured meanwhile.
        prepared: dict[SiteName, Workload] = {}
        in_lanes([partial(self._prepare, kind, site, prepared) for site in sites], max(1, len(sites)))
        for turn in range(self._sizes.turns):
            # Whoever is first in one turn is last in the next.
            names = [site.name for site in sites if site.name in prepared]
            for name in names if turn % 2 == 0 else reversed(names):
                with self._noting_failure(f"{kind.name} on {name}, turn {turn + 1}"):
                    for row, result in prepared[name].turn():
                        self.results.add(row, name, result)
                        self._say(f"{kind.name}: turn {turn + 1} {name!s:18} {row:52} {result}")

    def _prepare(self, kind: Kind, site: Site, prepared: dict[SiteName, Workload]) -> None:
        with self._noting_failure(f"{kind.name} on {site.name}, preparing"):
            prepared[site.name] = kind.prepare(site, self._sizes)

    @contextmanager
    def _noting_failure(self, what: str) -> Iterator[None]:
        """A run takes most of an hour: one turn of which nothing came does not end it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the other rows are wanted
            failure = f"{what} failed: {error!r}"
            self.failures.append(failure)
            self._say(failure)


@contextmanager
def running_sites(names: Sequence[SiteName], synapse_python: Path) -> Iterator[Sequence[Site]]:
    """Servers on empty databases. Each that needs PostgreSQL has one of its own, so that its CPU is known."""
    with tempfile.TemporaryDirectory(prefix="popcube-bench-") as directory, ExitStack() as stack:
        builder = _Builder(Path(directory), synapse_python)
        yield [stack.enter_context(builder.site(name)) for name in names]


class _Builder:
    """Makes sites, each with directories of its own."""

    def __init__(self, directory: Path, synapse_python: Path) -> None:
        self._directory = directory
        self._synapse_python = synapse_python
        self._authority = Authority(directory / "authority")
        self._numbers = count()

    @contextmanager
    def site(self, name: SiteName) -> Iterator[Site]:
        with ExitStack() as stack:
            database: Database = SqliteFile()
            database_pid: int | None = None
            if name.database == "postgres":
                postgres = _start_postgres(stack)
                database = postgres.database(DATABASE_NAME)
                # The guard's first child is the postmaster; what the database does, it and its children do.
                database_pid = process_tree(postgres.guard.pid)[1]
            directory = self._directory / f"{name.server}-{name.database}-{next(self._numbers)}"
            process: Process
            if name.server == "ours":
                process = OurServer(directory, database, self._authority)
            else:
                process = SynapseServer(self._synapse_python, directory, database, self._authority)
            stack.callback(process.kill9)
            process.start()
            size = partial(database_bytes, database, directory)
            yield Site(name, process, database_pid, size, lambda: self.site(name))


def _start_postgres(stack: ExitStack) -> RunningPostgres:
    postgres = start_postgres("durable")
    if postgres.problem:
        raise SystemExit(postgres.problem)
    stack.callback(_stop, postgres)
    postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(DATABASE_NAME)))
    return postgres


def _stop(postgres: RunningPostgres) -> None:
    """Closing its standard input is the guard's sign to stop the database."""
    if postgres.guard.stdin is not None:
        postgres.guard.stdin.close()
    postgres.guard.wait()
    if postgres.guard.stdout is not None:
        postgres.guard.stdout.close()
