"""What two sites cost an organization: replication lag, processor time, catching up, waiting for the peer.

    python -m benchmarks.sites [--database postgres|sqlite] [--rate 100] [--seconds 20] [--backlog 2000]

Both sites, the relay between them and the clients are on this machine; PostgreSQL writes each commit to the disk.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from psycopg2 import sql

from tests.integration.federation.peers import eventually
from tests.integration.sites.reading import metric
from tests.integration.sites.sites import TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import start_postgres

SENDERS: Final = 8
CATCH_UP_S: Final = 600.0
QUIET_S: Final = 2.0


def new_databases(kind: str) -> tuple[Database, Database]:
    """One for each site; a whole PostgreSQL each."""
    if kind == "sqlite":
        return SqliteFile(), SqliteFile()
    both = []
    for _ in range(2):
        postgres = start_postgres("durable")
        if postgres.problem:
            raise SystemExit(postgres.problem)
        postgres.execute(sql.SQL("CREATE DATABASE site TEMPLATE template0"))
        both.append(postgres.database("site"))
    return both[0], both[1]


def percentile(values: Sequence[float], share: float) -> float:
    """In milliseconds, of seconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Times:
    """Of messages by event ID, or of answers; in seconds."""

    answered: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    arrived: dict[str, float] = field(default_factory=dict)


class SitesBenchmark:
    """Two sites with one room."""

    def __init__(self, directory: Path, kind: str, durability: str) -> None:
        self.sites = TwoSites(directory, new_databases(kind), durability)

    def prepare(self) -> None:
        self.sites.start()
        self.sender = MatrixClient(self.sites.url("anna")).register("sender")
        self.room_id = self.sender.create_room(preset="public_chat")
        self.there = MatrixClient(self.sites.url("berta"), self.sender.access_token)
        room = f"/rooms/{quote(self.room_id)}/joined_members"
        eventually(lambda: self.there.get(room).status == 200, "the room is at berta")
        time.sleep(QUIET_S)

    async def send_steadily(self, rate: float, seconds: float) -> Times:
        """Messages at anna, so many a second; somebody syncs at berta."""
        times = Times()
        async with aiohttp.ClientSession(headers=self._headers()) as session:
            since = await self._sync(session, None, times)
            syncing = asyncio.ensure_future(self._sync_on(session, since, times))
            begun_s = time.monotonic()
            work = []
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begun_s + number / rate - time.monotonic()))
                work.append(asyncio.ensure_future(self._send(session, f"{begun_s}-{number}", times)))
            await asyncio.gather(*work)
            until_s = time.monotonic() + CATCH_UP_S
            while times.answered.keys() - times.arrived.keys() and time.monotonic() < until_s:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            syncing.cancel()
        return times

    async def send_many(self, count: int) -> None:
        """As fast as a few clients can."""
        numbers = iter(range(count))
        times = Times()
        async with aiohttp.ClientSession(headers=self._headers()) as session:

            async def send_on() -> None:
                for number in numbers:
                    await self._send(session, f"backlog-{number}", times)

            await asyncio.gather(*(send_on() for _ in range(SENDERS)))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.sender.access_token}"}

    async def _send(self, session: aiohttp.ClientSession, message: str, times: Times) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/send/m.room.message/{message}"
        body = {"msgtype": "m.text", "body": message}
        begun_s = time.monotonic()
        async with session.put(self.sites.url("anna") + path, json=body) as response:
            answer = await response.json()
        now_s = time.monotonic()
        times.answered[answer["event_id"]] = now_s
        times.latencies.append(now_s - begun_s)

    async def _sync_on(self, session: aiohttp.ClientSession, since: str, times: Times) -> None:
        while True:
            since = await self._sync(session, since, times)

    async def _sync(self, session: aiohttp.ClientSession, since: str | None, times: Times) -> str:
        query = {"filter": '{"room":{"timeline":{"limit":500}}}'}
        if since is not None:
            query |= {"since": since, "timeout": "10000"}
        url = self.sites.url("berta") + "/_matrix/client/v3/sync"
        async with session.get(url, params=query) as response:
            answer: dict[str, Any] = await response.json()
        now_s = time.monotonic()
        for room in answer.get("rooms", {}).get("join", {}).values():
            for event in room["timeline"]["events"]:
                times.arrived.setdefault(event["event_id"], now_s)
        return str(answer["next_batch"])

    def cpu_s(self) -> dict[str, float]:
        return {name: process.usage().cpu_s for name, process in self.sites.processes.items()}

    def resident_mib(self) -> str:
        return ", ".join(
            f"{name} {process.usage().resident_bytes / 2**20:.0f} MiB"
            for name, process in self.sites.processes.items()
        )

    def backlog(self) -> float:
        return metric(self.sender, "popcube_site_backlog")


def measure_steady(bench: SitesBenchmark, durability: str, rate: float, seconds: float) -> None:
    before = bench.cpu_s()
    times = asyncio.run(bench.send_steadily(rate, seconds))
    after = bench.cpu_s()
    count = len(times.answered)
    # From the answer of one site until somebody who syncs has it from the other.
    lags = [times.arrived[event_id] - answered_s for event_id, answered_s in times.answered.items()]
    spent = ", ".join(f"{name} {1000 * (after[name] - before[name]) / count:.1f} ms" for name in after)
    print(f"durability {durability}: {count} messages at {rate:g} a second")
    print(
        f"  send: p50 {percentile(times.latencies, 0.5):.0f} ms, p99 {percentile(times.latencies, 0.99):.0f} ms"
    )
    print(f"  lag until a sync at the other site has it: p50 {percentile(lags, 0.5):.0f} ms,", end="")
    print(f" p99 {percentile(lags, 0.99):.0f} ms")
    print(f"  CPU per message: {spent}", flush=True)


def measure_catching_up(bench: SitesBenchmark, backlog: int) -> None:
    bench.sites.cut()
    print(f"resident before the cut: {bench.resident_mib()}")
    asyncio.run(bench.send_many(backlog))
    behind = bench.backlog()
    before = bench.cpu_s()
    begun_s = time.monotonic()
    bench.sites.heal()
    highest = dict.fromkeys(bench.sites.processes, 0)
    while bench.backlog() > 0:
        for name, process in bench.sites.processes.items():
            highest[name] = max(highest[name], process.usage().resident_bytes)
        if time.monotonic() > begun_s + CATCH_UP_S:
            raise SystemExit(f"not caught up after {CATCH_UP_S:g} s")
        time.sleep(0.1)
    took_s = time.monotonic() - begun_s
    after = bench.cpu_s()
    spent = ", ".join(f"{name} {1000 * (after[name] - before[name]) / backlog:.1f} ms" for name in after)
    peaks = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in highest.items())
    print(f"catching up with {backlog} messages (backlog {behind:g}): {took_s:.1f} s,", end="")
    print(
        f" {backlog / took_s:.0f} a second; CPU per message: {spent}; resident at most: {peaks}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--rate", type=float, default=100, help="messages per second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument(
        "--backlog", type=int, default=2000, help="messages that are sent while the link is cut"
    )
    options = parser.parse_args()
    for durability in ("local", "site"):
        with tempfile.TemporaryDirectory(prefix="popcube-sites-") as directory:
            bench = SitesBenchmark(Path(directory) / "sites", options.database, durability)
            try:
                bench.prepare()
                with closing(bench.sender), closing(bench.there):
                    measure_steady(bench, durability, options.rate, options.seconds)
                    if durability == "local" and options.backlog:
                        measure_catching_up(bench, options.backlog)
            finally:
                bench.sites.kill9()


if __name__ == "__main__":
    main()
