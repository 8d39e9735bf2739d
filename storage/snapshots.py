"""Room state as snapshots, each stored as its difference to an earlier one.

A snapshot's base is the one whose height is its own with the lowest set bit cleared. So a chain has at most as many
links as the height has bits, and the differences of n changes hold about n log n entries in all: no snapshot ever
stores the whole state again.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence

from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

StateNids = dict[tuple[int, int], int]
"""(type, state key) to event, all as numbers."""

GONE = 0


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A snapshot to be written: `changes` against the snapshot `parent` (None at the room's beginning)."""

    nid: int
    parent: int | None
    changes: Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class SnapshotLink:
    """A stored snapshot: its state is that of `base` with `changes`."""

    nid: int
    height: int
    base: int | None
    changes: Mapping[tuple[int, int], int]


def pack(changes: Mapping[tuple[int, int], int]) -> bytes:
    """The stored form of a difference."""
    flat = array("q")
    for (event_type, state_key), event in changes.items():
        flat.extend((event_type, state_key, event))
    return flat.tobytes()


def unpack(data: bytes) -> StateNids:
    flat = array("q")
    flat.frombytes(data)
    numbers = iter(flat)
    return {
        (event_type, state_key): event
        for event_type, state_key, event in zip(numbers, numbers, numbers, strict=True)
    }


class SnapshotsRepository:
    """Reads whole states."""

    def get_states(self, tx: Transaction, nids: Iterable[int]) -> dict[int, StateNids]:
        """The state of each snapshot, without entries that are gone."""
        wanted = set(nids)
        links = _read_links(tx, wanted)
        return {nid: _merge(_chain(links, nid)) for nid in wanted if nid in links}

    def get_links(
        self, tx: Transaction, nids: Iterable[int], known: Callable[[int], bool]
    ) -> dict[int, SnapshotLink]:
        """Snapshots and what they are based on, down to those that are known already, which are left out."""
        return _read_links(tx, {nid for nid in nids if not known(nid)}, known)


def write_snapshots(tx: WriteTransaction, snapshots: Sequence[NewSnapshot]) -> None:
    """Write snapshots; a parent may be one of the same call that stands earlier."""
    made = {snapshot.nid for snapshot in snapshots}
    parents = [snapshot.parent for snapshot in snapshots if snapshot.parent is not None]
    heights = _read_heights(tx, set(parents) - made)
    links: dict[int, SnapshotLink] = {}
    rows = []
    for snapshot in snapshots:
        link = _link(tx, links, heights, snapshot)
        links[link.nid] = link
        heights[link.nid] = link.height
        rows.append((link.nid, link.height, link.base, pack(link.changes)))
    tx.many("INSERT INTO snapshots (nid, height, base, changes) VALUES (?, ?, ?, ?)", rows)


def _base_height(height: int) -> int:
    return height & (height - 1)


def _link(
    tx: WriteTransaction, links: dict[int, SnapshotLink], heights: Mapping[int, int], snapshot: NewSnapshot
) -> SnapshotLink:
    if snapshot.parent is None:
        return SnapshotLink(snapshot.nid, 0, None, snapshot.changes)
    height = heights[snapshot.parent] + 1
    base_height = _base_height(height)
    base, base_at = snapshot.parent, height - 1
    below: list[Mapping[tuple[int, int], int]] = [snapshot.changes]
    # From the parent down to the base, whose own changes are never read: the parent's chain passes through it.
    while base_at > base_height:
        if base not in links:
            links.update(_read_heads(tx, (base,)))
        link = links[base]
        assert link.base is not None
        below.append(link.changes)
        base, base_at = link.base, _base_height(base_at)
    changes: dict[tuple[int, int], int] = {}
    for older in reversed(below):
        changes.update(older)
    return SnapshotLink(snapshot.nid, height, base, changes)


def _read_heights(tx: Transaction, nids: Iterable[int]) -> dict[int, int]:
    heights: dict[int, int] = {}
    wanted = list(nids)
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        rows = tx.all(
            "SELECT nid, height FROM snapshots WHERE nid IN (??)", (wanted[start : start + IN_LIST_LIMIT],)
        )
        heights.update((row[0], row[1]) for row in rows)
    return heights


def _read_heads(tx: Transaction, nids: Iterable[int]) -> dict[int, SnapshotLink]:
    links: dict[int, SnapshotLink] = {}
    wanted = list(nids)
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        rows = tx.all(
            "SELECT nid, height, base, changes FROM snapshots WHERE nid IN (??)",
            (wanted[start : start + IN_LIST_LIMIT],),
        )
        links.update((row[0], SnapshotLink(row[0], row[1], row[2], unpack(row[3]))) for row in rows)
    return links


def _read_links(
    tx: Transaction, nids: Iterable[int], known: Callable[[int], bool] = lambda nid: False
) -> dict[int, SnapshotLink]:
    """These snapshots and everything that they are based on: one read per level, at most 64 levels."""
    links: dict[int, SnapshotLink] = {}
    missing = set(nids)
    while missing:
        read = _read_heads(tx, missing)
        links.update(read)
        bases = {link.base for link in read.values() if link.base is not None} - links.keys()
        missing = {base for base in bases if not known(base)}
    return links


def _chain(links: Mapping[int, SnapshotLink], nid: int) -> list[SnapshotLink]:
    chain = [links[nid]]
    while chain[-1].base is not None:
        chain.append(links[chain[-1].base])
    return chain


def _merge(chain: Sequence[SnapshotLink]) -> StateNids:
    state: StateNids = {}
    for link in reversed(chain):
        state.update(link.changes)
    return {entry: event for entry, event in state.items() if event != GONE}
