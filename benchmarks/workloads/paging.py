"""Paging back through a room."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from urllib.parse import quote

from benchmarks.client import V3
from benchmarks.load import Result, side_by_side, timed
from benchmarks.site import Site
from benchmarks.sizes import Sizes
from benchmarks.workloads.sending import sending

SENDERS = 8


class _Pages:
    """How far one has read."""

    def __init__(self) -> None:
        self.token = ""
        self.events = 0
        self.has_more = True


class Paging:
    """One client reads a room of thousands of messages from its end to its beginning, page by page."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        members = site.people("writer", SENDERS)
        self._room_id = site.make_room(members)
        self._client = site.client(members[0])
        numbers = count()
        workers = [sending(site, account, self._room_id, numbers) for account in members]
        side_by_side(workers, -(-sizes.history_events // SENDERS))

    def turn(self) -> Iterator[tuple[str, Result]]:
        title = f"page back {self._sizes.history_events:,} events, per {self._sizes.page_events}"
        yield title, self._site.measure(self._read_all)

    def _read_all(self) -> Sequence[float]:
        pages = _Pages()
        latencies_s: list[float] = []
        while pages.has_more:
            latencies_s.append(timed(partial(self._read_next, pages)))
        if pages.events < self._sizes.history_events:
            raise RuntimeError(f"{pages.events} events in all pages")
        return latencies_s

    def _read_next(self, pages: _Pages) -> None:
        start = f"&from={quote(pages.token)}" if pages.token else ""
        path = f"{V3}/rooms/{self._room_id}/messages?dir=b&limit={self._sizes.page_events}{start}"
        answer = self._client.call("GET", path)
        pages.events += len(answer["chunk"])
        pages.token = answer.get("end", "")
        pages.has_more = bool(pages.token and answer["chunk"])
