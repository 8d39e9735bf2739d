"""Sending plain messages."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from benchmarks.client import Account
from benchmarks.load import Result, side_by_side
from benchmarks.site import Site
from benchmarks.sizes import Sizes

ROOMS = 8
WARM_UP = 3


def sending(site: Site, account: Account, room_id: str, numbers: Iterator[int]) -> Callable[[], str]:
    """A function that sends the next message of an account."""
    client = site.client(account)

    def send() -> str:
        number = next(numbers)
        return client.send(room_id, f"txn{number}", f"message number {number} of a plain conversation")

    return send


class SendAlone:
    """Eight clients, each in a room that nobody else is in."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        numbers = count()
        self._workers = [
            sending(site, account, site.make_room([account]), numbers)
            for account in site.people("sender", ROOMS)
        ]
        side_by_side(self._workers, WARM_UP)

    def turn(self) -> Iterator[tuple[str, Result]]:
        work = partial(side_by_side, self._workers, self._sizes.sends)
        yield f"send, {ROOMS} clients in {ROOMS} rooms", self._site.measure(work)


class SendTogether:
    """Many clients in one room."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        members = site.people("talker", sizes.shared_room_members)
        room_id = site.make_room(members)
        numbers = count()
        self._workers = [
            sending(site, account, room_id, numbers) for account in members[: sizes.shared_room_senders]
        ]
        side_by_side(self._workers, 1)

    def turn(self) -> Iterator[tuple[str, Result]]:
        sizes = self._sizes
        title = f"send, {sizes.shared_room_senders} clients in one room of {sizes.shared_room_members}"
        yield title, self._site.measure(partial(side_by_side, self._workers, sizes.sends))


class SendToHugeRoom:
    """Eight clients in a room of ten thousand, of whom nobody else is there."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        members = site.people("villager", sizes.huge_room_members)
        room_id = site.make_room(members)
        numbers = count()
        self._workers = [sending(site, account, room_id, numbers) for account in members[:ROOMS]]
        side_by_side(self._workers, WARM_UP)

    def turn(self) -> Iterator[tuple[str, Result]]:
        work = partial(side_by_side, self._workers, self._sizes.huge_room_sends)
        title = f"send, {len(self._workers)} clients in a room of {self._sizes.huge_room_members:,}"
        yield title, self._site.measure(work)
