"""A room of hundreds: joining it, listing its members."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.client import V3, Account
from benchmarks.load import Result, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes

CLIENTS = 4


class BigRoom:
    """Four clients join as others, each for the first time; one client asks for all the members."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._people = site.people("citizen", sizes.big_room_members)
        self._room_id = site.make_room(self._people)

    def turn(self) -> Iterator[tuple[str, Result]]:
        size = self._sizes.big_room_members
        newcomers = self._site.new_people("visitor", self._sizes.joins * CLIENTS)
        workers = [self._joining(newcomers[start::CLIENTS]) for start in range(CLIENTS)]
        yield f"join a room of {size}", self._site.measure(partial(side_by_side, workers, self._sizes.joins))
        client = self._site.client(self._people[0])
        asking = partial(client.fetch, "GET", f"{V3}/rooms/{self._room_id}/members")
        work = partial(side_by_side, [asking], self._sizes.member_lists)
        yield f"members of a room of {size}", self._site.measure(work)

    def _joining(self, accounts: Sequence[Account]) -> Callable[[], None]:
        clients = iter([self._site.client(account) for account in accounts])
        return lambda: next(clients).join(self._room_id)
