"""Work put on a server, and what it took."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.processes import forget_peak, peak_mib, tree_cpu_s

T = TypeVar("T")

QUIET_WINDOW_S = 0.1
QUIET_CPU_S = 0.02
QUIET_DEADLINE_S = 15.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a piece of work took. One latency for each operation."""

    operations: int
    elapsed_s: float
    server_cpu_s: float
    database_cpu_s: float
    latencies_s: Sequence[float]
    peak_mib: float
    grown_bytes: int = 0
    """By how much the database grew, where that was measured."""

    @property
    def per_second(self) -> float:
        return self.operations / self.elapsed_s

    @property
    def server_ms(self) -> float:
        """Processor time of the server for one operation."""
        return self.server_cpu_s / self.operations * 1000

    @property
    def database_ms(self) -> float:
        """Processor time of the database for one operation; SQLite's is in the server's."""
        return self.database_cpu_s / self.operations * 1000

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

    def __str__(self) -> str:
        return (
            f"{self.per_second:7.0f}/s  CPU {self.server_ms:6.2f} + {self.database_ms:5.2f} ms  "
            f"p50 {self.percentile_ms(0.5):6.1f} ms  p99 {self.percentile_ms(0.99):6.1f} ms"
        )


@dataclass(frozen=True, slots=True)
class Watched:
    """Whose processor time counts: two processes and what descends from them."""

    server_pid: int
    database_pid: int | None

    def database_cpu_s(self) -> float:
        return 0.0 if self.database_pid is None else tree_cpu_s(self.database_pid)

    def settle(self) -> None:
        """Wait until the server has done what it does after its answers, or for a while at most."""
        settle_all([self])

    def measure(self, work: Callable[[], Sequence[float]]) -> Result:
        """Do a piece of work that tells the seconds each of its operations took.

        What the server does for these operations after it has answered them counts too.
        """
        (result,) = measure_all([self], work)
        return result


def settle_all(watched: Sequence[Watched]) -> None:
    """Until all are quiet in the same moment: while one waits for another, the work is not over."""
    deadline_s = time.monotonic() + QUIET_DEADLINE_S
    while time.monotonic() < deadline_s:
        before_s = [tree_cpu_s(one.server_pid) for one in watched]
        time.sleep(QUIET_WINDOW_S)
        if all(
            tree_cpu_s(one.server_pid) - used_s < QUIET_CPU_S
            for one, used_s in zip(watched, before_s, strict=True)
        ):
            return


def measure_all(watched: Sequence[Watched], work: Callable[[], Sequence[float]]) -> Sequence[Result]:
    """As `Watched.measure`, for several servers that take part: what each of them used."""
    settle_all(watched)
    before = []
    for one in watched:
        forget_peak(one.server_pid)
        before.append((tree_cpu_s(one.server_pid), one.database_cpu_s()))
    begun_s = time.perf_counter()
    latencies_s = work()
    elapsed_s = time.perf_counter() - begun_s
    settle_all(watched)
    return [
        Result(
            operations=len(latencies_s),
            elapsed_s=elapsed_s,
            server_cpu_s=tree_cpu_s(one.server_pid) - server_s,
            database_cpu_s=one.database_cpu_s() - database_s,
            latencies_s=latencies_s,
            peak_mib=peak_mib(one.server_pid),
        )
        for one, (server_s, database_s) in zip(watched, before, strict=True)
    ]


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def side_by_side(workers: Iterable[Callable[[], object]], each: int) -> Sequence[float]:
    """Run every worker's function `each` times, each worker in a thread; the seconds of every call."""
    latencies_s: list[float] = []
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            for _ in range(each):
                latencies_s.append(timed(work))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return latencies_s


def in_lanes(jobs: Iterable[Callable[[], T]], lanes: int = 4) -> list[T]:
    """Do jobs, a few at a time; what they return, in their order."""
    with ThreadPoolExecutor(lanes) as executor:
        return list(executor.map(lambda job: job(), jobs))
