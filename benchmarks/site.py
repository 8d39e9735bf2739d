"""A running server that is measured: its process, its database, the accounts on it."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.client import Account, Client
from benchmarks.load import Result, Watched, in_lanes
from benchmarks.processes import resident_mib, tree_cpu_s
from benchmarks.servers import Process


@dataclass(frozen=True, slots=True, order=True)
class SiteName:
    """Which server, on which database: `ours` or `synapse`, `sqlite` or `postgres`."""

    database: str
    server: str

    def __str__(self) -> str:
        return f"{self.server}/{self.database}"


class Site:
    """One server process. It can be restarted; clients made before then connect again by themselves."""

    def __init__(
        self,
        name: SiteName,
        process: Process,
        database_pid: int | None,
        database_bytes: Callable[[], int],
        another: Callable[[], AbstractContextManager["Site"]],
    ) -> None:
        """`another`: a running site of the same kind, with an empty database, that can reach this one."""
        self.name = name
        self._process = process
        self._database_pid = database_pid
        self.database_bytes = database_bytes
        """How large the database is on disk."""
        self.another = another
        self._people: dict[str, list[Account]] = {}

    @property
    def server_name(self) -> str:
        return self._process.server_name

    @property
    def watched(self) -> Watched:
        return Watched(self._process.pid, self._database_pid)

    def restart(self) -> Result:
        """Stop and start it. What the start took to the first answer, and the memory when it has become quiet."""
        self._process.terminate()
        database_s = self.watched.database_cpu_s()
        begun_s = time.perf_counter()
        self._process.start()
        elapsed_s = time.perf_counter() - begun_s
        server_s = tree_cpu_s(self._process.pid)
        database_s = self.watched.database_cpu_s() - database_s
        self.watched.settle()
        return Result(1, elapsed_s, server_s, database_s, [elapsed_s], resident_mib(self._process.pid))

    def measure(self, work: Callable[[], Sequence[float]]) -> Result:
        return self.watched.measure(work)

    def measure_growth(self, work: Callable[[], Sequence[float]]) -> Result:
        """As `measure`, with how much the database grows."""
        self.watched.settle()
        before = self.database_bytes()
        result = self.measure(work)
        return replace(result, grown_bytes=self.database_bytes() - before)

    def client(self, account: Account | None = None) -> Client:
        return Client(self._process.port, None if account is None else account.access_token)

    def people(self, group: str, count: int) -> Sequence[Account]:
        """The first accounts of a group; they are registered when they are first asked for."""
        known = self._people.setdefault(group, [])
        names = [f"{group}{number}" for number in range(len(known), count)]
        known.extend(in_lanes([partial(self._register, name) for name in names]))
        return known[:count]

    def new_people(self, group: str, count: int) -> Sequence[Account]:
        """Accounts of a group that nobody has been given before."""
        known = len(self._people.get(group, ()))
        return self.people(group, known + count)[known:]

    def log_in_again(self, account: Account) -> Account:
        client = self.client()
        try:
            return client.log_in(account.user_id)
        finally:
            client.close()

    def make_room(self, members: Sequence[Account]) -> str:
        """A public room, made by the first member, that all of them have joined."""
        client = self.client(members[0])
        room_id = client.create_room(name="A room")
        client.close()
        self.join_all(room_id, members[1:])
        return room_id

    def join_all(self, room_id: str, accounts: Sequence[Account]) -> None:
        in_lanes([partial(self._join, room_id, account) for account in accounts])

    def _register(self, name: str) -> Account:
        client = self.client()
        try:
            return client.register(name)
        finally:
            client.close()

    def _join(self, room_id: str, account: Account) -> None:
        client = self.client(account)
        try:
            client.join(room_id)
        finally:
            client.close()
