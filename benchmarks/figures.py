"""First figures: sends by 8 clients, a room of 10,000 members and 50,000 events, start time, idle memory, growth.

    python -m benchmarks.figures [--members N] [--events N] [sqlite] [postgres]

Everything runs on this machine: the clients take CPU from the server, so the CPU per operation says more than the
operations per second.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from benchmarks.client import V3, Account, Client
from benchmarks.load import Result, Watched, side_by_side
from benchmarks.processes import process_tree, resident_mib
from tests.support.configuration import Database, SqliteFile, write_configuration
from tests.support.postgres import PostgresArgs, running_postgres
from tests.support.server_process import ServerProcess

LIMIT = {"per_second": 1_000_000, "burst_count": 1_000_000}
# The default cost of a password hash would be most of what making 10,000 accounts takes.
OVERRIDES: dict[str, Any] = {
    "rc_room_creation": LIMIT,
    "rc_joins_per_room": LIMIT,
    "popcube": {"argon2": {"time_cost": 1, "memory": "8K"}, "log": {"level": "WARNING"}},
}


class Bench:
    """One server process, and where its data is."""

    def __init__(self, name: str, directory: Path, database: Database, database_pid: int | None) -> None:
        self.name = name
        self._directory = directory
        self._database = database
        self._database_pid = database_pid
        self.server = ServerProcess(write_configuration(directory, database, overrides=OVERRIDES))

    def start(self) -> float:
        """Seconds from the start of the process to its first answer."""
        begun_s = time.perf_counter()
        self.server.start()
        self.client().call("GET", "/_matrix/client/versions")
        return time.perf_counter() - begun_s

    @property
    def port(self) -> int:
        return int(self.server.base_url.rpartition(":")[2])

    @property
    def memory_mib(self) -> float:
        return resident_mib(self.server.pid)

    def client(self, account: Account | None = None) -> Client:
        return Client(self.port, None if account is None else account.access_token)

    def measure(self, workers: Sequence[Callable[[], object]], each: int) -> Result:
        """Every worker's function `each` times, the workers side by side."""
        watched = Watched(self.server.pid, self._database_pid)
        return watched.measure(partial(side_by_side, workers, each))

    def database_bytes(self) -> int:
        if isinstance(self._database, PostgresArgs):
            arguments = self._database.as_connect_arguments()
            with closing(psycopg2.connect(**arguments)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_database_size(current_database())")
                row = cursor.fetchone()
                return int(row[0]) if row else 0
        return sum(path.stat().st_size for path in self._directory.glob("homeserver.db*"))

    def report(self, what: str, figure: object) -> None:
        print(f"{self.name:9} {what:58} {figure}", flush=True)


def sends(bench: Bench, each: int) -> None:
    """8 clients in 8 rooms of their own; and how much the database grows by a message."""
    workers: list[Callable[[], None]] = []
    for number in range(8):
        account = bench.client().register(f"sender{number}")
        client = bench.client(account)
        workers.append(partial(_send_next, client, client.create_room(), iter(range(each * 2))))
    bench.measure(workers, each // 4)
    before = bench.database_bytes()
    result = bench.measure(workers, each)
    bench.report("send, 8 clients in 8 rooms", result)
    bench.report(
        "growth of the database per message, bytes", (bench.database_bytes() - before) // result.operations
    )


def _send_next(client: Client, room_id: str, numbers: Iterator[int]) -> None:
    number = next(numbers)
    client.send(room_id, f"txn{number}", f"message number {number} of a plain conversation")


def big_room(bench: Bench, members: int, events: int) -> None:
    """Fill a room, then read and write it, before and after a restart."""
    owner = bench.client().register("owner")
    client = bench.client(owner)
    room_id = client.create_room(name="Everybody")
    memory_before = bench.memory_mib
    accounts = [bench.client().register(f"member{number}") for number in range(members)]
    joins = [iter(accounts[start::8]) for start in range(8)]
    clients = [bench.client() for _ in range(8)]
    workers = [partial(_join_next, bench, room_id, joining) for joining in joins]
    result = bench.measure(workers, members // 8)
    bench.report(f"join, up to {members} members", result)
    del clients
    senders = [bench.client(account) for account in accounts[:8]]
    numbers = iter(range(10 * events))
    each = max(1, (events - members) // 8)
    result = bench.measure(
        [partial(_send_next, one, room_id, numbers) for one in senders],
        each,
    )
    bench.report(f"send, 8 clients in the room, up to {events} events", result)
    bench.report(
        "memory, room and accounts in it, MiB", f"{bench.memory_mib:.0f} (before: {memory_before:.0f})"
    )
    for when in ("warm", "after a restart"):
        if when != "warm":
            bench.server.terminate()
            bench.report("start with this room to the first answer, s", f"{bench.start():.2f}")
        _read_and_write(bench, owner, room_id, when)
    bench.report("memory after a restart and these reads, MiB", f"{bench.memory_mib:.0f}")


def _join_next(bench: Bench, room_id: str, accounts: Iterator[Account]) -> None:
    client = bench.client(next(accounts))
    client.call("POST", f"{V3}/rooms/{room_id}/join", {})


def _read_and_write(bench: Bench, owner: Account, room_id: str, when: str) -> None:
    client = bench.client(owner)
    numbers = iter(range(1_000_000))
    prefix = when.replace(" ", "")
    works: list[tuple[str, Callable[[], Any], int]] = [
        ("first message", lambda: client.send(room_id, f"{prefix}{next(numbers)}", "first"), 1),
        ("messages", lambda: client.send(room_id, f"{prefix}{next(numbers)}", "more"), 200),
        ("members", lambda: client.call("GET", f"{V3}/rooms/{room_id}/members"), 5),
        ("page of 100", lambda: client.call("GET", f"{V3}/rooms/{room_id}/messages?dir=b&limit=100"), 20),
        ("first sync", lambda: client.call("GET", f"{V3}/sync?filter={LAZY}"), 3),
        ("first sync, all members", lambda: client.call("GET", f"{V3}/sync"), 2),
    ]
    for what, work, times in works:
        result = bench.measure([work], times)
        bench.report(f"big room, {when}: {what}", result)


LAZY = "%7B%22room%22:%7B%22state%22:%7B%22lazy_load_members%22:true%7D%7D%7D"


@contextmanager
def benches(names: list[str]) -> Iterator[Iterator[Bench]]:
    """Servers to measure, one after the other, on empty databases."""
    with tempfile.TemporaryDirectory() as directory:
        yield _make_benches(names, Path(directory))


def _make_benches(names: list[str], directory: Path) -> Iterator[Bench]:
    for name in names:
        database: Database = SqliteFile()
        database_pid: int | None = None
        if name == "postgres":
            postgres = running_postgres("durable")
            if postgres.problem:
                raise SystemExit(postgres.problem)
            dbname = f"bench_{time.time_ns()}"
            postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(dbname)))
            database = postgres.database(dbname)
            database_pid = process_tree(postgres.guard.pid)[1]
        bench = Bench(name, directory / name, database, database_pid)
        try:
            yield bench
        finally:
            bench.server.kill9()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--sends", type=int, default=500, help="messages of each of the 8 clients")
    arguments = parser.parse_args()
    with benches(arguments.databases) as running:
        for bench in running:
            bench.report("first start to first answer, s", f"{bench.start():.2f}")
            bench.report("idle memory, MiB", f"{bench.memory_mib:.0f}")
            bench.server.terminate()
            bench.report("start to first answer, s", f"{bench.start():.2f}")
            sends(bench, arguments.sends)
            if arguments.members:
                big_room(bench, arguments.members, arguments.events)


if __name__ == "__main__":
    main()
