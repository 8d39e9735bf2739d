"""A message on its way to everybody who waits for it."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from benchmarks.client import Client
from benchmarks.load import Result, in_lanes
from benchmarks.site import Site
from benchmarks.sizes import Sizes

POLL_MS = 30_000
DELIVERY_DEADLINE_S = 60.0


class _Exchange:
    """When messages were sent, and how long each took to each of those who wait."""

    def __init__(self, last: str) -> None:
        """`last`: the message after which nobody listens any more."""
        self._last = last
        self._sent_s: dict[str, float] = {}
        self._latencies_s: list[float] = []
        self._errors: list[Exception] = []
        self._delivered = threading.Semaphore(0)

    def sent(self, body: str) -> None:
        self._sent_s[body] = time.perf_counter()

    def listen(self, client: Client, since: str, room_id: str) -> None:
        """Poll until the last message."""
        try:
            while True:
                answer = client.sync(since, POLL_MS)
                since = answer["next_batch"]
                bodies = list(_bodies(answer, room_id))
                self._note(bodies)
                if self._last in bodies:
                    return
        except Exception as error:
            self._errors.append(error)
            raise
        finally:
            client.close()

    def _note(self, bodies: Sequence[str]) -> None:
        now_s = time.perf_counter()
        for body in bodies:
            if body in self._sent_s:
                self._latencies_s.append(now_s - self._sent_s[body])
                self._delivered.release()

    def wait_for(self, deliveries: int) -> Sequence[float]:
        """The seconds of each. Raises TimeoutError if some do not come."""
        for number in range(deliveries):
            if not self._delivered.acquire(timeout=DELIVERY_DEADLINE_S):
                raise TimeoutError(f"{number} of {deliveries} deliveries, {self._errors}")
        return list(self._latencies_s)


def _bodies(answer: Mapping[str, Any], room_id: str) -> Iterator[str]:
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    for event in room.get("timeline", {}).get("events", ()):
        if event["type"] == "m.room.message":
            yield event["content"]["body"]


class FanOut:
    """Clients that wait in long polls in one room, and one that sends a message now and then.

    An operation is a delivery: one message in one client's sync. Its latency counts from before the sending.
    """

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._members = site.people("listener", sizes.listeners + 1)
        self._room_id = site.make_room(self._members)
        self._numbers = count()

    def turn(self) -> Iterator[tuple[str, Result]]:
        last = f"the last one, {next(self._numbers)}"
        exchange = _Exchange(last)
        clients = [self._site.client(account) for account in self._members[1:]]
        tokens = in_lanes([client.token for client in clients])
        listeners = [
            threading.Thread(target=exchange.listen, args=(client, token, self._room_id), daemon=True)
            for client, token in zip(clients, tokens, strict=True)
        ]
        for listener in listeners:
            listener.start()
        sender = self._site.client(self._members[0])
        try:
            result = self._site.measure(lambda: self._send(exchange, sender))
        finally:
            # Nobody goes on listening while something else is measured.
            sender.send(self._room_id, f"last{next(self._numbers)}", last)
            for listener in listeners:
                listener.join(DELIVERY_DEADLINE_S)
        yield f"fan-out to {self._sizes.listeners} long polls, per delivery", result

    def _send(self, exchange: _Exchange, sender: Client) -> Sequence[float]:
        for _ in range(self._sizes.fan_out_messages):
            number = next(self._numbers)
            body = f"news {number}"
            exchange.sent(body)
            sender.send(self._room_id, f"txn{number}", body)
            time.sleep(self._sizes.fan_out_pause_s)
        return exchange.wait_for(self._sizes.fan_out_messages * self._sizes.listeners)
