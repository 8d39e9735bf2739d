"""Stored states as values: states of one room that are near to each other share nearly all of their memory."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from immutables import Map

from federation.rooms.branch import Branch, Snapshot
from federation.rooms.room_state import StatePair
from storage.database import Transaction
from storage.event_numbers import EventNumbers
from storage.snapshots import GONE, SnapshotLink, SnapshotsRepository

MAX_ENTRIES = 300_000
"""Entries that are kept, each counted once for all states that share it."""


class States:
    """Reads states, and keeps those read last with what they are based on. For database threads."""

    def __init__(
        self, repository: SnapshotsRepository, numbers: EventNumbers, max_entries: int = MAX_ENTRIES
    ) -> None:
        self._repository = repository
        self._numbers = numbers
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, tuple[Map[StatePair, str], int]] = OrderedDict()
        """By snapshot: the state, and how many entries it has more than what it is based on."""
        self._entries = 0

    def read(self, tx: Transaction, nids: Iterable[int]) -> dict[int, Branch]:
        """The states of those snapshots that exist."""
        wanted = set(nids)
        found: dict[int, Map[StatePair, str]] = {}

        def is_known(nid: int) -> bool:
            state = found.get(nid) or self._find(nid)
            if state is not None:
                found[nid] = state
            return state is not None

        links = self._repository.get_links(tx, wanted, is_known)
        names = _Names(tx, self._numbers, links)
        for link in sorted(links.values(), key=lambda each: each.height):
            state: Map[StatePair, str] = Map() if link.base is None else found[link.base]
            found[link.nid] = state = names.apply(state, link)
            self._keep(link.nid, state, len(link.changes))
        event_ids = self._numbers.find_ids(tx, wanted & found.keys())
        return {nid: Branch(found[nid], Snapshot(event_ids[nid], nid)) for nid in event_ids}

    def _find(self, nid: int) -> "Map[StatePair, str] | None":
        with self._lock:
            kept = self._kept.get(nid)
            if kept is None:
                return None
            self._kept.move_to_end(nid)
            return kept[0]

    def _keep(self, nid: int, state: "Map[StatePair, str]", entries: int) -> None:
        with self._lock:
            if nid in self._kept or entries > self._max_entries:
                return
            self._kept[nid] = (state, entries + 1)
            self._entries += entries + 1
            while self._entries > self._max_entries:
                _, (_, gone) = self._kept.popitem(last=False)
                self._entries -= gone


class _Names:
    """What the numbers of some links stand for."""

    def __init__(self, tx: Transaction, numbers: EventNumbers, links: Mapping[int, SnapshotLink]) -> None:
        self._names = tx.names_of(
            number for link in links.values() for pair in link.changes for number in pair
        )
        self._events = numbers.find_ids(
            tx, {event for link in links.values() for event in link.changes.values() if event != GONE}
        )
        self._pairs: dict[tuple[int, int], StatePair] = {}

    def apply(self, state: "Map[StatePair, str]", link: SnapshotLink) -> "Map[StatePair, str]":
        changed = state.mutate()
        for pair, event in link.changes.items():
            if event == GONE:
                changed.pop(self._pair(pair), None)
            else:
                changed[self._pair(pair)] = self._events[event]
        return changed.finish()

    def _pair(self, pair: tuple[int, int]) -> StatePair:
        found = self._pairs.get(pair)
        if found is None:
            found = self._pairs[pair] = (self._names[pair[0]], self._names[pair[1]])
        return found
