"""Clients that wait for something that does not come."""

import time
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.client import Client
from benchmarks.load import Result, in_lanes
from benchmarks.site import Site
from benchmarks.sizes import Sizes

ROOM_SIZE = 10


class IdlePolls:
    """An operation is one client polling for the whole time; its latency is by how much that ends too late."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._people = site.people("sleeper", sizes.idle_clients)
        for first in range(0, len(self._people), ROOM_SIZE):
            site.make_room(self._people[first : first + ROOM_SIZE])
        self._clients = [site.client(account) for account in self._people]

    def turn(self) -> Iterator[tuple[str, Result]]:
        tokens = in_lanes([client.token for client in self._clients])
        # Everybody is online now: what that wakes is over before the waiting is measured.
        self._site.watched.settle()
        work = partial(self._wait, tokens)
        title = f"{self._sizes.idle_clients} idle long polls of {self._sizes.idle_s:g} s"
        yield title, self._site.measure(work)

    def _wait(self, tokens: Sequence[str]) -> Sequence[float]:
        jobs = [
            partial(_poll, client, token, self._sizes.idle_s)
            for client, token in zip(self._clients, tokens, strict=True)
        ]
        return in_lanes(jobs, lanes=len(jobs))


def _poll(client: Client, since: str, duration_s: float) -> float:
    """Presence may end a poll early: then the next one begins."""
    end_s = time.perf_counter() + duration_s
    while (left_s := end_s - time.perf_counter()) > 0:
        since = client.sync(since, max(1, int(left_s * 1000)))["next_batch"]
    return -left_s
