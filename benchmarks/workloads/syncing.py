"""Syncing an account with many rooms."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

from benchmarks.client import Account, Client
from benchmarks.load import Result, in_lanes, side_by_side, timed
from benchmarks.site import Site
from benchmarks.sizes import Sizes

LAZY = {"room": {"state": {"lazy_load_members": True}}}
CLIENTS = 4
MESSAGES_IN_EACH_ROOM = 5


class Syncing:
    """Some people who share all their rooms. Each first sync is of a device that has just logged in."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._people = site.people("friend", sizes.synced_members)
        self._numbers = count()
        self._room_ids = in_lanes([self._make_room] * sizes.synced_rooms)
        self._next_person = count()

    def _make_room(self) -> str:
        room_id = self._site.make_room(self._people)
        client = self._site.client(self._people[0])
        for number in range(MESSAGES_IN_EACH_ROOM):
            client.send(room_id, f"first{room_id[1:9]}{number}", "something to begin with")
        client.close()
        return room_id

    def turn(self) -> Iterator[tuple[str, Result]]:
        rooms = f"{self._sizes.synced_rooms} rooms of {self._sizes.synced_members}"
        work = self._first_syncs(None, self._sizes.first_syncs)
        yield f"first sync, {rooms}", self._site.measure(work)
        work = self._first_syncs(LAZY, self._sizes.first_syncs)
        yield "first sync, lazy members", self._site.measure(work)
        yield "incremental sync, nothing new", self._site.measure(self._empty_syncs())
        yield "incremental sync, one message", self._measure_message_syncs()
        work = self._first_syncs(None, 1)
        self._site.restart()
        yield "first sync, cold after a start", self._site.measure(work)

    def _first_syncs(self, sync_filter: Any, times: int) -> Callable[[], Sequence[float]]:
        """One after the other, each by somebody else."""
        clients = [self._new_device() for _ in range(times)]

        def sync() -> None:
            answer = clients.pop().sync(sync_filter=sync_filter)
            if len(answer["rooms"]["join"]) != self._sizes.synced_rooms:
                raise RuntimeError(f"{len(answer['rooms']['join'])} rooms in a first sync")

        return partial(side_by_side, [sync], times)

    def _new_device(self) -> Client:
        person = self._people[next(self._next_person) % len(self._people)]
        return self._site.client(self._site.log_in_again(person))

    def _empty_syncs(self) -> Callable[[], Sequence[float]]:
        followers = [_Follower(self._site, account) for account in self._people[:CLIENTS]]
        self._site.watched.settle()
        in_lanes([follower.sync for follower in followers])
        return partial(
            side_by_side, [follower.sync for follower in followers], self._sizes.empty_syncs // CLIENTS + 1
        )

    def _measure_message_syncs(self) -> Result:
        """Everybody syncs after each message. The sending is not measured."""
        followers = [_Follower(self._site, account) for account in self._people]
        sender = self._site.client(self._people[0])
        results: list[Result] = []
        for room_id, _ in zip(self._room_ids * 100, range(self._sizes.message_syncs), strict=False):
            self._site.watched.settle()
            in_lanes([follower.sync for follower in followers])
            sender.send(room_id, f"news{next(self._numbers)}", "something new")
            syncs = [partial(timed, partial(follower.sync_message, room_id)) for follower in followers]
            results.append(self._site.measure(partial(in_lanes, syncs)))
        return _sum(results)


class _Follower:
    """A client that asks what is new since it last asked, and does not wait."""

    def __init__(self, site: Site, account: Account) -> None:
        self._client = site.client(account)
        self._since = self._client.token()

    def sync(self) -> Any:
        answer = self._client.sync(self._since)
        self._since = answer["next_batch"]
        return answer

    def sync_message(self, room_id: str) -> None:
        if not self.sync()["rooms"]["join"][room_id]["timeline"]["events"]:
            raise RuntimeError("The message is not in the sync.")


def _sum(results: Sequence[Result]) -> Result:
    return Result(
        operations=sum(one.operations for one in results),
        elapsed_s=sum(one.elapsed_s for one in results),
        server_cpu_s=sum(one.server_cpu_s for one in results),
        database_cpu_s=sum(one.database_cpu_s for one in results),
        latencies_s=[latency_s for one in results for latency_s in one.latencies_s],
        peak_mib=max(one.peak_mib for one in results),
    )
