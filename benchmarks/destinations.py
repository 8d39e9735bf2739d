"""What ten thousand servers in one room cost the queues of the sender: memory, and processor time for each message.

    python -m benchmarks.destinations [--servers N] [--alive N] [--messages N]

In one process, on SQLite, without the network: what a request costs is measured by the work `federation`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.processes import forget_peak, peak_mib, resident_mib
from federation.sending.place import CURSOR
from federation.transport.errors import Unreachable
from storage.destinations import DestinationFailed, FailingDestination
from storage.followers import MoveCursor
from tests.federation.sending.sender_case import SenderMixin
from tests.storage.storage_case import SqliteStorage

HOUR_S = 3600


class Outside:
    """Other servers, of whom all but a few are dead."""

    def __init__(self, alive: int, failed: Callable[[str], Coroutine[Any, Any, object]]) -> None:
        """`failed` writes down that a server does not answer, as the transport does."""
        self.alive = alive
        self._failed = failed
        self.taken = 0
        self.tries = 0

    async def send(self, destination: str, txn_id: str, body: bytes) -> Mapping[str, Any]:
        self.tries += 1
        if int(destination[1:].partition(".")[0]) >= self.alive:
            await self._failed(destination)
            raise Unreachable(destination, "no route")
        self.taken += 1
        return {"pdus": {}}


class Destinations(SqliteStorage, SenderMixin, SynchronousTestCase):
    """A sender, and a room."""

    live_rooms = 10
    cached_events = 20_000

    def runTest(self) -> None:  # noqa: N802
        """There is nothing to test."""

    def given_servers(self, servers: int, alive: int) -> None:
        """In the room; all but `alive` of them are dead."""
        self.result(self.sender.stop())
        self.room_id = self.given_room()
        self.own_room_id = self.given_room()
        for number in range(servers):
            self.join(self.room_id, f"@user:s{number}.example")
        # What was sent until now was for nobody else.
        self.result(self.committer.commit(MoveCursor(CURSOR, self.log.position)))
        self.outside = Outside(alive, self.note_failed)
        self.others = self.outside  # type: ignore[assignment]
        self.open()

    async def note_failed(self, destination: str) -> None:
        now_ms = int(self.clock.seconds() * 1000)
        row = FailingDestination(destination, now_ms, now_ms + HOUR_S * 1000, HOUR_S * 1000)
        await self.committer.commit(DestinationFailed(row))

    def say_many(self, messages: int) -> None:
        for _ in range(messages):
            self.say(self.room_id, "hello")


class Report:
    """Prints a line for each piece of work."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def measure(self, what: str, work: Callable[[], object], operations: int) -> None:
        forget_peak(self._pid)
        before_mib, begun_s = resident_mib(self._pid), time.process_time()
        work()
        used_ms = (time.process_time() - begun_s) * 1000
        print(
            f"{what:64} {used_ms / operations:9.3f} ms each   memory {before_mib:6.1f} -> "
            f"{resident_mib(self._pid):6.1f} MiB, peak {peak_mib(self._pid):6.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--alive", type=int, default=100)
    parser.add_argument("--messages", type=int, default=200)
    arguments = parser.parse_args()
    servers, alive, messages = arguments.servers, arguments.alive, arguments.messages
    with tempfile.TemporaryDirectory() as directory:
        here = Path.cwd()
        os.chdir(directory)
        try:
            _run(servers, alive, messages)
        finally:
            os.chdir(here)


def _run(servers: int, alive: int, messages: int) -> None:
    report, case = Report(), Destinations("runTest")  # type: ignore[no-untyped-call]
    case.setUp()
    dead = servers - alive
    report.measure(f"{servers:,} servers join a room", lambda: case.given_servers(servers, alive), servers)
    report.measure(f"first message: {dead:,} do not answer", lambda: case.say_many(1), servers)
    print(f"{'':64} {len(case.deliveries)} queues, {case.deliveries.parked_count:,} parked")
    report.measure("second message: what they miss is written down", lambda: case.say_many(1), servers)
    report.measure(f"message, {alive} alive and {dead:,} dead", lambda: case.say_many(messages), messages)
    report.measure("restart with these dead", case.restart, 1)
    report.measure(f"an hour later: {dead:,} are tried again", lambda: _pass(case, HOUR_S), dead)
    case.outside.alive = servers
    report.measure("they are back, and caught up", lambda: _pass(case, 2 * HOUR_S), dead)
    print(f"{'':64} {len(case.deliveries)} queues, {case.deliveries.parked_count:,} parked")
    taken = case.outside.taken
    report.measure(f"message to {servers:,} that are alive", lambda: case.say_many(5), 5)
    print(
        f"{'':64} {(case.outside.taken - taken) / 5:,.0f} transactions for each, {len(case.deliveries)} queues"
    )
    report.measure("a message in a room of its own", lambda: _alone(case, messages), messages)
    case.result(case.sender.stop())
    case.doCleanups()


def _pass(case: Destinations, duration_s: float) -> None:
    for _ in range(20):
        case.pass_time(duration_s / 20)
    for _ in range(1_000):
        case.pass_time(0.1)


def _alone(case: Destinations, messages: int) -> None:
    for _ in range(messages):
        case.say(case.own_room_id, "hello")


if __name__ == "__main__":
    main()
