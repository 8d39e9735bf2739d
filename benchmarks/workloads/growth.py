"""What sending costs in rooms of different sizes, and how much the database grows by it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count

from benchmarks.client import V3, Account
from benchmarks.load import Result, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes
from benchmarks.workloads.sending import sending

CLIENTS = 4
WARM_UP = 3


class RoomSizes:
    """The same number of clients in a small room and in a large one."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        numbers = count()
        self._rooms: dict[int, list[Callable[[], str]]] = {}
        for size in (sizes.small_members, sizes.large_members):
            members = site.people("patriot", size)
            room_id = site.make_room(members)
            self._rooms[size] = [sending(site, one, room_id, numbers) for one in members[:CLIENTS]]
            side_by_side(self._rooms[size], WARM_UP)

    def turn(self) -> Iterator[tuple[str, Result]]:
        for size, workers in self._rooms.items():
            work = partial(side_by_side, workers, self._sizes.growth_sends)
            yield f"send in a room of {size:,} members", self._site.measure_growth(work)


class RoomHistories:
    """One room that is new, one in which much was said, one in which much was changed."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._numbers = count()
        members = site.people("chronicler", CLIENTS)
        self._rooms = {}
        for title, fill in (
            ("a new room", 0),
            (f"a room of {sizes.history_steps:,} messages", sizes.history_steps),
        ):
            workers = self._make_room(members)
            side_by_side(workers, max(WARM_UP, fill // CLIENTS))
            self._rooms[title] = workers
        self._changed_room = site.make_room(members)
        self._changing = self._changes(members[0], self._changed_room)
        side_by_side([self._changing], sizes.state_changes)
        self._rooms[f"a room of {sizes.state_changes:,} changes of state"] = [
            sending(site, one, self._changed_room, self._numbers) for one in members
        ]

    def turn(self) -> Iterator[tuple[str, Result]]:
        sends = self._sizes.growth_sends
        for title, workers in self._rooms.items():
            work = partial(side_by_side, workers, sends)
            yield f"send in {title}", self._site.measure_growth(work)
        work = partial(side_by_side, [self._changing], sends)
        yield f"change the state, after {self._sizes.state_changes:,} times", self._site.measure_growth(work)

    def _make_room(self, members: Sequence[Account]) -> list[Callable[[], str]]:
        room_id = self._site.make_room(members)
        return [sending(self._site, one, room_id, self._numbers) for one in members]

    def _changes(self, account: Account, room_id: str) -> Callable[[], None]:
        """Another topic each time."""
        client = self._site.client(account)
        path = f"{V3}/rooms/{room_id}/state/m.room.topic/"
        return lambda: client.call("PUT", path, {"topic": f"topic number {next(self._numbers)}"})
