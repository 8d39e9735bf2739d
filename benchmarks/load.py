"""Blocking clients that put load on a server process, and what the process used meanwhile."""

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
V3 = "/_matrix/client/v3"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the server, logged in."""

    user_id: str
    access_token: str


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, access_token: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Content-Type": "application/json"}
        if access_token is not None:
            self._headers["Authorization"] = f"Bearer {access_token}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, which must be a success."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
        return json.loads(answer)

    def register(self, name: str) -> Account:
        body = {"username": name, "password": "a long password", "auth": {"type": "m.login.dummy"}}
        answer = self.call("POST", f"{V3}/register", body)
        return Account(answer["user_id"], answer["access_token"])

    def create_room(self, **options: Any) -> str:
        room_id: str = self.call("POST", f"{V3}/createRoom", {"preset": "public_chat", **options})["room_id"]
        return room_id

    def send(self, room_id: str, txn_id: str, text: str) -> str:
        body = {"msgtype": "m.text", "body": text}
        path = f"{V3}/rooms/{room_id}/send/m.room.message/{txn_id}"
        event_id: str = self.call("PUT", path, body)["event_id"]
        return event_id


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds that processes have used so far."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return total


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def named_processes(word: str) -> list[int]:
    """Processes whose command name has this word in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if word in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """What a piece of work took."""

    operations: int
    elapsed_s: float
    server_cpu_s: float
    database_cpu_s: float
    latencies_s: Sequence[float]

    def __str__(self) -> str:
        ordered = sorted(self.latencies_s)
        p50, p99 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000
        server = self.server_cpu_s / self.operations * 1000
        database = self.database_cpu_s / self.operations * 1000
        return (
            f"{self.operations / self.elapsed_s:7.0f}/s  CPU {server:6.2f} + {database:5.2f} ms  "
            f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms"
        )


def measure(
    server_pid: int, database_pids: Sequence[int], workers: Sequence[Callable[[], None]], each: int
) -> Result:
    """Run every worker's function `each` times, the workers side by side."""
    latencies: list[float] = []
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            for _ in range(each):
                begun_s = time.perf_counter()
                work()
                latencies.append(time.perf_counter() - begun_s)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in workers]
    server_before, database_before = cpu_s([server_pid]), cpu_s(database_pids)
    begun_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begun_s
    if errors:
        raise errors[0]
    return Result(
        len(workers) * each,
        elapsed_s,
        cpu_s([server_pid]) - server_before,
        cpu_s(database_pids) - database_before,
        latencies,
    )
