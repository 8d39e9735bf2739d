"""Two sites of one organization with one room, and the clients that write at one and read at the other."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from psycopg2 import sql

from benchmarks.processes import forget_peak, peak_mib, tree_cpu_s
from tests.integration.federation.peers import eventually
from tests.integration.sites.reading import metric
from tests.integration.sites.sites import TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import start_postgres

SITES: Final = ("anna", "berta")
CATCH_UP_S: Final = 600.0
QUIET_S: Final = 2.0
ROOM_OF_SYNC: Final = '{"room":{"timeline":{"limit":500}}}'


@dataclass
class Times:
    """Of messages by event ID, or of answers; in seconds."""

    answered: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    arrived: dict[str, float] = field(default_factory=dict)

    def lags(self) -> Sequence[float]:
        """From the answer of one site until somebody who syncs has the message from the other."""
        return [self.arrived[event_id] - answered_s for event_id, answered_s in self.answered.items()]


class SitesUnderLoad:
    """`anna`, where messages are sent, and `berta`. With PostgreSQL each has a whole one, which writes to the disk."""

    def __init__(self, directory: Path, database: str, durability: str) -> None:
        self._database_pids: list[int] = []
        databases = (self._new_database(database), self._new_database(database))
        self._sites = TwoSites(directory, databases, durability)

    def _new_database(self, kind: str) -> Database:
        if kind == "sqlite":
            return SqliteFile()
        postgres = start_postgres("durable")
        if postgres.problem:
            raise SystemExit(postgres.problem)
        postgres.execute(sql.SQL("CREATE DATABASE site TEMPLATE template0"))
        self._database_pids.append(postgres.guard.pid)
        return postgres.database("site")

    def start(self) -> None:
        self._sites.start()
        with closing(MatrixClient(self._sites.url("anna")).register("sender")) as sender:
            self._access_token = sender.access_token
            self._room_id = sender.create_room(preset="public_chat")
        room = f"/rooms/{quote(self._room_id)}/joined_members"
        with closing(self._client("berta")) as there:
            eventually(lambda: there.get(room).status == 200, "the room is at berta")
        time.sleep(QUIET_S)

    def end(self) -> None:
        self._sites.kill9()

    def cut(self) -> None:
        self._sites.cut()

    def heal(self) -> None:
        self._sites.heal()

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
            while times.answered.keys() - times.arrived.keys():
                if time.monotonic() > until_s:
                    raise SystemExit("messages have not arrived at the other site")
                await asyncio.sleep(0.05)
            syncing.cancel()
        return times

    async def send_many(self, count: int, clients: int) -> Times:
        """Each client sends when its last message is answered."""
        begun_s = time.monotonic()
        numbers = iter(range(count))
        times = Times()
        async with aiohttp.ClientSession(headers=self._headers()) as session:

            async def send_on() -> None:
                for number in numbers:
                    await self._send(session, f"many-{begun_s}-{number}", times)

            await asyncio.gather(*(send_on() for _ in range(clients)))
        return times

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access_token}"}

    async def _send(self, session: aiohttp.ClientSession, message: str, times: Times) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(self._room_id)}/send/m.room.message/{message}"
        body = {"msgtype": "m.text", "body": message}
        begun_s = time.monotonic()
        async with session.put(self._sites.url("anna") + path, json=body) as response:
            response.raise_for_status()
            answer = await response.json()
        now_s = time.monotonic()
        times.answered[answer["event_id"]] = now_s
        times.latencies.append(now_s - begun_s)

    async def _sync_on(self, session: aiohttp.ClientSession, since: str, times: Times) -> None:
        while True:
            since = await self._sync(session, since, times)

    async def _sync(self, session: aiohttp.ClientSession, since: str | None, times: Times) -> str:
        query = {"filter": ROOM_OF_SYNC}
        if since is not None:
            query |= {"since": since, "timeout": "10000"}
        url = self._sites.url("berta") + "/_matrix/client/v3/sync"
        async with session.get(url, params=query) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
        now_s = time.monotonic()
        for room in answer.get("rooms", {}).get("join", {}).values():
            for event in room["timeline"]["events"]:
                times.arrived.setdefault(event["event_id"], now_s)
        return str(answer["next_batch"])

    def has_there(self, event_id: str) -> bool:
        """Whether berta shows an event."""
        with closing(self._client("berta")) as client:
            return client.get(f"/rooms/{quote(self._room_id)}/event/{quote(event_id)}").status == 200

    def backlog(self) -> int:
        """Positions of anna's log that berta has not confirmed."""
        with closing(self._client("anna")) as client:
            return int(metric(client, "popcube_site_backlog"))

    def _client(self, name: str) -> MatrixClient:
        """A connection of its own: the servers close those that nobody has used for a while."""
        return MatrixClient(self._sites.url(name), self._access_token)

    def cpu_s(self) -> Sequence[float]:
        """Of each site, server and database together."""
        servers = [tree_cpu_s(self._sites.processes[name].pid) for name in SITES]
        databases = [tree_cpu_s(pid) for pid in self._database_pids] or [0.0, 0.0]
        return [server + database for server, database in zip(servers, databases, strict=True)]

    def forget_peaks(self) -> None:
        for name in SITES:
            forget_peak(self._sites.processes[name].pid)

    def peaks_mib(self) -> Sequence[float]:
        """The largest memory of each server since `forget_peaks`."""
        return [peak_mib(self._sites.processes[name].pid) for name in SITES]
