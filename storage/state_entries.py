"""A few entries of many states, without reading the states: what decides who may see an event."""

from array import array
from collections.abc import Callable, Collection, Iterable

from storage.database import IN_LIST_LIMIT, Transaction
from storage.events import find_event_ids
from storage.snapshots import GONE

Entries = dict[tuple[str, str], str]
"""(type, state key) to event ID."""

_Link = tuple[int | None, dict[tuple[int, int], int]]


class StateEntriesRepository:
    """Reads the chains of differences once for all states that are asked for, and keeps only what is wanted of them."""

    def get_entries(
        self, tx: Transaction, snapshots: Iterable[int], pairs: Collection[tuple[str, str]]
    ) -> dict[int, Entries]:
        """By snapshot, the wanted entries that its state has."""
        ids = tx.name_ids({name for pair in pairs for name in pair})
        numbers = {(ids[pair[0]], ids[pair[1]]): pair for pair in pairs if pair[0] in ids and pair[1] in ids}
        types = {number for number, _ in numbers}
        wanted = set(snapshots)
        links = _read_links(tx, wanted, lambda number, key: number in types and (number, key) in numbers)
        states = {nid: _merge(links, nid) for nid in wanted if nid in links}
        events = find_event_ids(tx, {event for state in states.values() for event in state.values()})
        return {
            nid: {numbers[pair]: events[event] for pair, event in state.items()}
            for nid, state in states.items()
        }


def _read_links(
    tx: Transaction, snapshots: Iterable[int], is_wanted: Callable[[int, int], bool]
) -> dict[int, _Link]:
    links: dict[int, _Link] = {}
    missing = set(snapshots)
    while missing:
        chunk = [missing.pop() for _ in range(min(len(missing), IN_LIST_LIMIT))]
        for nid, base, changes in tx.all(
            "SELECT nid, base, changes FROM snapshots WHERE nid IN (??)", (chunk,)
        ):
            flat = array("q")
            flat.frombytes(changes)
            kept = {
                (flat[at], flat[at + 1]): flat[at + 2]
                for at in range(0, len(flat), 3)
                if is_wanted(flat[at], flat[at + 1])
            }
            links[nid] = (base, kept)
        missing |= {base for base, _ in links.values() if base is not None} - links.keys()
    return links


def _merge(links: dict[int, _Link], nid: int) -> dict[tuple[int, int], int]:
    state: dict[tuple[int, int], int] = {}
    at: int | None = nid
    while at is not None:
        base, changes = links[at]
        for pair, event in changes.items():
            # From the newest difference down to the oldest: the first that names an entry is right.
            state.setdefault(pair, event)
        at = base
    return {pair: event for pair, event in state.items() if event != GONE}
