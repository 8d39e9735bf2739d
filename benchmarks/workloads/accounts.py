"""Registering and logging in, with a cheap password hash."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from benchmarks.client import Account
from benchmarks.load import Result, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes

CLIENTS = 4


class Accounts:
    """Four clients."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._numbers = count()
        self._accounts = site.people("returning", CLIENTS)

    def turn(self) -> Iterator[tuple[str, Result]]:
        registering = [self._registering() for _ in range(CLIENTS)]
        work = partial(side_by_side, registering, self._sizes.registrations)
        yield "register", self._site.measure(work)
        logging_in = [partial(self._site.client().log_in, one.user_id) for one in self._accounts]
        work = partial(side_by_side, logging_in, self._sizes.logins)
        yield "log in", self._site.measure(work)

    def _registering(self) -> Callable[[], Account]:
        client = self._site.client()
        return lambda: client.register(f"newcomer{next(self._numbers)}")
