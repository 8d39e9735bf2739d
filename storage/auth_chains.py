"""Auth chains of state events, so that nobody has to walk them event by event.

An event's chain is the chain of its `base` (that of its auth events which has the longest one), the base itself, and
`more`, which is little. So the chain of any number of events is what stands in the rows that are reached by going from
base to base, and rows that they share are read once. So that such a path is short however long the chain is, an event
whose depth is a multiple of 16 and that is somebody's base has a second difference, to the base 16 (256, 4096, ...)
steps further down: a path has at most 15 steps for each hexadecimal digit of the depth.

A row is written with its event if all auth events are stored and have rows. Otherwise (an event that came before its
auth events, a database from before this index) readers compute it from the events' JSON, and have it written.
"""

import zlib
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Self

import orjson

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

STEP = 16
MAX_COMPUTED_IN_WRITE = 500
"""Auth events without rows, for one write. Beyond, the event waits for a reader: writing must stay quick."""
MAX_UNINDEXED = 20_000

_RAW, _PACKED = b"\x00", b"\x01"
_PACK_FROM = 8


@dataclass(frozen=True, slots=True)
class Link:
    """One event's way down: its chain is `more`, `base`, and the chain of `base`."""

    depth: int
    size: int
    base: int | None
    """Or its `skip`, if it has one."""
    more: tuple[int, ...]
    has_skip: bool = False


class LinkCache:
    """Links that were read; they never become wrong. Threads share it: each step on the dictionary is atomic."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._links: dict[int, Link] = {}

    def find(self, nid: int) -> Link | None:
        return self._links.get(nid)

    def keep(self, links: Mapping[int, Link]) -> None:
        if len(self._links) + len(links) > self._size:
            self._links = {}
        if len(links) <= self._size:
            self._links.update(links)


class AuthChains:
    """Auth chains within one transaction."""

    def __init__(self, tx: Transaction, cache: LinkCache) -> None:
        self._tx = tx
        self._cache = cache
        self._links: dict[int, Link] = {}
        self.computed: set[int] = set()
        """Events whose rows are not written, although they could be: see `IndexAuthChains`."""

    def chain(self, nids: Iterable[int]) -> set[int]:
        """The union of the auth chains of some events, which are not in it unless they are in another's."""
        found: set[int] = set()
        for link in self.reached(nids).values():
            found.update(link.more)
            if link.base is not None:
                found.add(link.base)
        return found

    def reached(self, nids: Iterable[int]) -> dict[int, Link]:
        """The links of some events and of all that their paths pass through."""
        wanted = set(nids)
        reached: dict[int, Link] = {}
        self._load(wanted)
        pending = list(wanted)
        while pending:
            nid = pending.pop()
            link = self._links[nid]
            reached[nid] = link
            if link.base is not None and link.base not in reached:
                reached[link.base] = self._links[link.base]
                pending.append(link.base)
        return reached

    def _load(self, nids: Collection[int]) -> None:
        """After this there is a link for each of the events, and for all below."""
        missing = self._find_missing(nids)
        if missing:
            read = _read_links(self._tx, missing)
            self._cache.keep(read)
            self._links.update(read)
            without = [nid for nid in missing if nid not in read]
            if without:
                self._compute(without)

    def _find_missing(self, nids: Iterable[int]) -> list[int]:
        missing = []
        for nid in nids:
            step: int | None = nid
            while step is not None and step not in self._links:
                link = self._cache.find(step)
                if link is None:
                    missing.append(step)
                    break
                self._links[step] = link
                step = link.base
        return missing

    def _compute(self, nids: Sequence[int]) -> None:
        unindexed = _read_unindexed(self._tx, nids, None)
        assert unindexed is not None
        self._load({nid for auth in unindexed.auth.values() for nid in auth} - unindexed.auth.keys())
        complete: dict[int, Link] = {}
        for nid in _in_order(unindexed.auth):
            auth = unindexed.auth[nid]
            self._links[nid] = _make_link(nid, auth, self._links)
            if nid not in unindexed.incomplete and all(
                each in complete or each not in unindexed.auth for each in auth
            ):
                complete[nid] = self._links[nid]
        self._cache.keep(complete)
        self.computed.update(complete)
        for nid in unindexed.auth.keys() - self._links.keys():
            # A cycle, which only room versions with chosen event IDs allow: such events have no chain.
            self._links[nid] = Link(0, 0, None, ())


@dataclass(frozen=True, slots=True)
class IndexAuthChains(Change):
    """Events that had no rows in the index, and were found to be able to have one."""

    kind: ClassVar[str] = "auth_chains"
    area: ClassVar[str] = "rooms"
    logged: ClassVar[bool] = False

    nids: tuple[int, ...]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        wanted = sorted({nid for _, change in changes for nid in change.nids})
        known = _read_rows(tx, wanted)
        missing = [nid for nid in wanted if nid not in known]
        for start in range(0, len(missing), IN_LIST_LIMIT):
            _index(tx, missing[start : start + IN_LIST_LIMIT], {})


class Unindexed:
    """What readers found without rows, until somebody who writes anyway has the rows written too. Bounded."""

    def __init__(self, size: int = MAX_UNINDEXED) -> None:
        self._size = size
        self._nids: set[int] = set()

    def add(self, nids: Collection[int]) -> None:
        """From any thread."""
        if nids and len(self._nids) < self._size:
            self._nids.update(nids)

    def take(self) -> list[IndexAuthChains]:
        """At most one change, for the caller to write."""
        some = tuple(self._nids.pop() for _ in range(min(len(self._nids), MAX_COMPUTED_IN_WRITE)))
        return [IndexAuthChains(some)] if some else []


def write_auth_chains(tx: WriteTransaction, auth_events: Mapping[int, Sequence[str]]) -> None:
    """Index state events that were just inserted: by number, the IDs of their auth events."""
    if auth_events:
        _index(tx, list(auth_events), auth_events)


def _index(tx: WriteTransaction, nids: Sequence[int], known: Mapping[int, Sequence[str]]) -> None:
    unindexed = _read_unindexed(tx, nids, MAX_COMPUTED_IN_WRITE + len(nids), known)
    if unindexed is None:
        return
    writer = _Writer(tx)
    writer.load({nid for auth in unindexed.auth.values() for nid in auth} - unindexed.auth.keys())
    for nid in _in_order(unindexed.auth):
        if nid not in unindexed.incomplete:
            writer.add(nid, unindexed.auth[nid])
    writer.write()


class _Writer:
    """Makes rows, and the second differences of those that become somebody's base."""

    def __init__(self, tx: WriteTransaction) -> None:
        self._tx = tx
        self._links: dict[int, Link] = {}
        self._new: dict[int, Link] = {}
        self._skips: dict[int, tuple[int, tuple[int, ...]]] = {}

    def load(self, nids: Collection[int]) -> None:
        self._links.update(_read_links(self._tx, nids))

    def add(self, nid: int, auth: Sequence[int]) -> None:
        if any(each not in self._links for each in auth):
            return
        link = _make_link(nid, auth, self._links)
        if link.base is not None:
            self._add_skip(link.base)
        self._links[nid] = self._new[nid] = link

    def _add_skip(self, nid: int) -> None:
        link = self._links[nid]
        if link.has_skip or link.depth == 0 or link.depth % STEP:
            return
        step = STEP
        while link.depth % (step * STEP) == 0:
            step *= STEP
        target_depth = link.depth - step
        more: set[int] = set()
        at, below = nid, link
        while below.depth > target_depth and below.base is not None:
            more.update(below.more)
            more.add(below.base)
            at, below = below.base, self._links[below.base]
        more.discard(at)
        self._skips[nid] = (at, tuple(sorted(more)))
        self._links[nid] = replace(link, base=at, more=self._skips[nid][1], has_skip=True)

    def write(self) -> None:
        self._tx.many(
            "INSERT INTO auth_chains (event, depth, size, base, more) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (event) DO NOTHING",
            [
                (nid, link.depth, link.size, link.base, pack_numbers(link.more))
                for nid, link in self._new.items()
            ],
        )
        for nid, (skip, more) in self._skips.items():
            self._tx.run(
                "UPDATE auth_chains SET skip = ?, skip_more = ? WHERE event = ?",
                (skip, pack_numbers(more), nid),
            )


@dataclass(frozen=True, slots=True)
class _Unindexed:
    auth: dict[int, tuple[int, ...]]
    """Events without rows to the numbers of those of their auth events that are stored."""
    incomplete: set[int]
    """Those of them of which not all auth events are stored."""


def _read_unindexed(
    tx: Transaction, nids: Sequence[int], limit: int | None, known: Mapping[int, Sequence[str]] | None = None
) -> _Unindexed | None:
    """Events without rows and all below them that have none either; None if these are more than `limit`."""
    unindexed = _Unindexed({}, set())
    level: list[int] = list(nids)
    named: dict[int, Sequence[str]] = dict(known or {})
    while level:
        named.update(_read_auth_ids(tx, [nid for nid in level if nid not in named]))
        numbers = _read_nids(tx, {each for nid in level for each in named.get(nid, ())})
        below: set[int] = set()
        for nid in level:
            names = named.get(nid, ())
            auth = tuple(dict.fromkeys(numbers[each] for each in names if each in numbers))
            unindexed.auth[nid] = auth
            if any(each not in numbers for each in names):
                unindexed.incomplete.add(nid)
            below.update(auth)
        below -= unindexed.auth.keys()
        level = sorted(below - _read_rows(tx, below))
        if limit is not None and len(unindexed.auth) + len(level) > limit:
            return None
    return unindexed


def _in_order(auth: Mapping[int, Collection[int]]) -> list[int]:
    """Events behind those of their auth events that are among them; what is part of a cycle is left out."""
    waits_for = {nid: sum(each in auth for each in of_event) for nid, of_event in auth.items()}
    needed_by: dict[int, list[int]] = {}
    for nid, of_event in auth.items():
        for each in of_event:
            if each in auth:
                needed_by.setdefault(each, []).append(nid)
    ready = [nid for nid, count in waits_for.items() if count == 0]
    order = []
    while ready:
        nid = ready.pop()
        order.append(nid)
        for waiting in needed_by.get(nid, ()):
            waits_for[waiting] -= 1
            if waits_for[waiting] == 0:
                ready.append(waiting)
    return order


def _make_link(nid: int, auth: Sequence[int], links: Mapping[int, Link]) -> Link:
    """The link of an event; those of its auth events and of all below are in `links`."""
    if not auth:
        return Link(0, 0, None, ())
    base = max(auth, key=lambda each: (links[each].size, each))
    common = _chain_of(base, links)
    common.add(base)
    more: set[int] = set()
    for each in auth:
        step: int | None = each
        # A chain holds the chains of all in it: what is below a common event is common.
        while step is not None and step not in common and step not in more:
            more.add(step)
            more.update(below for below in links[step].more if below not in common)
            step = links[step].base
    return Link(links[base].depth + 1, len(common) + len(more), base, tuple(sorted(more)))


def _chain_of(nid: int, links: Mapping[int, Link]) -> set[int]:
    chain: set[int] = set()
    link = links[nid]
    while link.base is not None:
        chain.update(link.more)
        chain.add(link.base)
        link = links[link.base]
    return chain


def _read_links(tx: Transaction, nids: Iterable[int]) -> dict[int, Link]:
    """The rows of these events and of all that their paths pass through, as far as there are rows."""
    links: dict[int, Link] = {}
    wanted = list(nids)
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        rows = tx.all(
            "SELECT event, depth, size, base, more, skip, skip_more FROM auth_chains WHERE event IN (??)",
            (wanted[start : start + IN_LIST_LIMIT],),
        )
        links.update((row[0], _link(row)) for row in rows)
    below = {link.base for link in links.values() if link.base is not None} - links.keys()
    paths = list(below)
    for start in range(0, len(paths), IN_LIST_LIMIT):
        rows = tx.all(
            "WITH RECURSIVE path (event, next) AS ("
            " SELECT c.event, COALESCE(c.skip, c.base) FROM auth_chains c WHERE c.event IN (??)"
            " UNION SELECT c.event, COALESCE(c.skip, c.base) FROM path p JOIN auth_chains c ON c.event = p.next)"
            " SELECT c.event, c.depth, c.size, c.base, c.more, c.skip, c.skip_more"
            " FROM path p JOIN auth_chains c ON c.event = p.event",
            (paths[start : start + IN_LIST_LIMIT],),
        )
        links.update((row[0], _link(row)) for row in rows)
    return links


def _link(row: Sequence[Any]) -> Link:
    _, depth, size, base, more, skip, skip_more = row
    if skip is None:
        return Link(depth, size, base, unpack_numbers(more))
    return Link(depth, size, skip, unpack_numbers(skip_more), has_skip=True)


def _read_rows(tx: Transaction, nids: Iterable[int]) -> set[int]:
    """Those of the events that have rows."""
    found: set[int] = set()
    wanted = list(nids)
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        rows = tx.all(
            "SELECT event FROM auth_chains WHERE event IN (??)", (wanted[start : start + IN_LIST_LIMIT],)
        )
        found.update(row[0] for row in rows)
    return found


def _read_auth_ids(tx: Transaction, nids: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for start in range(0, len(nids), IN_LIST_LIMIT):
        rows = tx.all(
            "SELECT nid, json FROM events WHERE nid IN (??)", (nids[start : start + IN_LIST_LIMIT],)
        )
        found.update((nid, auth_ids(json)) for nid, json in rows)
    return found


def auth_ids(json: bytes) -> list[str]:
    """The auth events that an event names."""
    # Room versions 1 and 2 have pairs of an ID and hashes.
    return [each if isinstance(each, str) else each[0] for each in orjson.loads(json).get("auth_events", ())]


def _read_nids(tx: Transaction, event_ids: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    # PostgreSQL's text cannot hold U+0000, so no event has such an ID.
    wanted = [event_id for event_id in event_ids if "\x00" not in event_id]
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        chunk = wanted[start : start + IN_LIST_LIMIT]
        found.update(tx.all("SELECT event_id, nid FROM events WHERE event_id IN (??)", (chunk,)))
    return found


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """The stored form of sorted numbers."""
    if len(numbers) < _PACK_FROM:
        return _RAW + array("q", numbers).tobytes()
    steps = array("q", numbers[:1])
    steps.extend(later - earlier for earlier, later in pairwise(numbers))
    return _PACKED + zlib.compress(steps.tobytes(), 1)


def unpack_numbers(data: bytes) -> tuple[int, ...]:
    data = bytes(data)
    numbers = array("q")
    if data[:1] == _RAW:
        numbers.frombytes(data[1:])
        return tuple(numbers)
    numbers.frombytes(zlib.decompress(data[1:]))
    at = 0
    found = []
    for step in numbers:
        at += step
        found.append(at)
    return tuple(found)
