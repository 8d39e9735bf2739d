"""Two servers of one kind: joining a large room of the other one, and messages from one to the other.

The second server begins each turn with an empty database: it has never heard of the first one or its rooms.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import count

from benchmarks.client import V3, Account, Client
from benchmarks.load import Result, in_lanes, measure_all, side_by_side, timed
from benchmarks.site import Site
from benchmarks.sizes import Sizes
from benchmarks.workloads.sending import sending

ROOMS = 8
WARM_UP = 3
LANES = 8
POLL_S = 0.1
ARRIVAL_DEADLINE_S = 120.0


class Federating:
    """The rooms are the site's; the second server's users join them."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._numbers = count()
        members = site.people("patriot", sizes.federated_members)
        speakers, others = members[:LANES], members[LANES:]
        self._big_room = site.make_room(speakers)
        # Before the others come: Synapse looks at each member of a room for each message in it.
        each = max(1, (sizes.federated_events - len(members)) // len(speakers))
        side_by_side([sending(site, one, self._big_room, self._numbers) for one in speakers], each)
        site.join_all(self._big_room, others)

    def turn(self) -> Iterator[tuple[str, Result]]:
        with self._site.another() as far:
            yield from self._join(far)
            yield from self._send(far)
            yield from self._flood(far)

    def _join(self, far: Site) -> Iterator[tuple[str, Result]]:
        (account,) = far.people("joiner", 1)
        with closing(far.client(account)) as client:
            joining = partial(self._join_big_room, client)
            joiner, resident = measure_all([far.watched, self._site.watched], lambda: [timed(joining)])
            # The server is about to go for ever: nothing should be sent to it then.
            client.leave(self._big_room)
        sizes = self._sizes
        title = f"join a room of {sizes.federated_members:,} on another server"
        yield f"{title}, joining", joiner
        yield f"{title}, resident", resident

    def _join_big_room(self, client: Client) -> None:
        """Until all the members are known, for whom Synapse asks after it has answered the join."""
        client.join_through(self._site.server_name, self._big_room)
        members = client.call("GET", f"{V3}/rooms/{self._big_room}/members")["chunk"]
        if len(members) <= self._sizes.federated_members:
            raise RuntimeError(f"{len(members)} members are known")

    def _send(self, far: Site) -> Iterator[tuple[str, Result]]:
        (room,) = self._shared_rooms(far, 1)
        yield from self._measure(far, [room], self._sizes.federated_sends, "message to another server")

    def _flood(self, far: Site) -> Iterator[tuple[str, Result]]:
        rooms = self._shared_rooms(far, ROOMS)
        title = f"messages of {ROOMS} clients in {ROOMS} rooms to another server"
        yield from self._measure(far, rooms, self._sizes.federated_flood, title)

    def _shared_rooms(self, far: Site, number: int) -> Sequence["_SharedRoom"]:
        """With one user of each server in each."""
        here = self._site.people("neighbor", number)
        there = far.people("foreigner", number)
        return in_lanes([partial(self._share, *pair, far) for pair in zip(here, there, strict=True)])

    def _share(self, here: Account, there: Account, far: Site) -> "_SharedRoom":
        room_id = self._site.make_room([here])
        far_client = far.client(there)
        far_client.join_through(self._site.server_name, room_id)
        room = _SharedRoom(room_id, self._site, here, far_client, self._numbers)
        for _ in range(WARM_UP):
            room.send()
        room.wait()
        return room

    def _measure(
        self, far: Site, rooms: Sequence["_SharedRoom"], each: int, title: str
    ) -> Iterator[tuple[str, Result]]:
        def work() -> Sequence[float]:
            latencies_s = side_by_side([room.send for room in rooms], each)
            for room in rooms:
                room.wait()
            return latencies_s

        sender, receiver = measure_all([self._site.watched, far.watched], work)
        yield f"{title}, sender", sender
        yield f"{title}, receiver", receiver
        for room in rooms:
            room.close()


class _SharedRoom:
    """A user of each server, of whom one speaks and the other one listens."""

    def __init__(
        self, room_id: str, site: Site, speaker: Account, listener: Client, numbers: Iterator[int]
    ) -> None:
        self._room_id = room_id
        self._listener = listener
        self._speak = sending(site, speaker, room_id, numbers)
        self._last = ""

    def send(self) -> None:
        self._last = self._speak()

    def wait(self) -> None:
        """Until the last message is there. Raises TimeoutError."""
        deadline_s = time.monotonic() + ARRIVAL_DEADLINE_S
        while not self._listener.has_event(self._room_id, self._last):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self._last} has not come to the other server")
            time.sleep(POLL_S)

    def close(self) -> None:
        """The server is about to go for ever: nothing should be sent to it then."""
        self._listener.leave(self._room_id)
        self._listener.close()
