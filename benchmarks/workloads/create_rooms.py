"""Creating rooms."""

from collections.abc import Iterator
from functools import partial

from benchmarks.load import Result, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes

CLIENTS = 4


class CreateRooms:
    """Four clients, each making public rooms with a name and a topic."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._accounts = site.people("founder", CLIENTS)

    def turn(self) -> Iterator[tuple[str, Result]]:
        workers = [
            partial(self._site.client(one).create_room, name="A room", topic="Nothing in particular")
            for one in self._accounts
        ]
        yield "create a room", self._site.measure(partial(side_by_side, workers, self._sizes.rooms_created))
