"""What happens inside the transaction of a commit: positions, the log, the tables, and the versions of records."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from itertools import chain
from typing import ClassVar, Protocol, Self

import orjson

from storage.change import Change
from storage.database import WriteTransaction
from storage.log_head import LockedHead
from storage.replication.record import Version
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordsTouched(Change):
    """Records changed without an entry in the log: this is one for them."""

    kind: ClassVar[str] = "records"
    area: ClassVar[str] = "records"

    def key(self) -> tuple[str, ...]:
        return ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        return


class TouchedRecords(Protocol):
    """Notes the versions of replicated records that changes touch."""

    def note(self, tx: WriteTransaction, touched: Iterable[tuple[int, str, tuple[str, ...]]]) -> bool:
        """`touched`: (position, kind, key) of records, in the transaction that writes the changes.

        Whether there were any.
        """


@dataclass(frozen=True, slots=True)
class Arrived:
    """What records of a peer site come to, decided in the transaction that writes it."""

    changes: tuple[Change, ...]
    versions: tuple[tuple[str, tuple[str, ...], Version], ...]
    """(kind, key, version) of each record that was taken in."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Changes that a peer site brings."""

    origin: str
    """The peer site."""
    decide: Callable[[WriteTransaction], Arrived]


@dataclass(slots=True)
class Written:
    """What was written together: changes, the key, position and result of each, the log's new head."""

    head: int
    changes: Sequence[Change] = ()
    keys: list[tuple[str, ...]] = field(default_factory=list)
    """Empty for what has no entry in the log."""
    positions: list[int] = field(default_factory=list)
    results: list[object] = field(default_factory=list)


class WriteBatch:
    """Writes changes within the transaction of the committer, who alone calls it."""

    def __init__(self, clock_ms: Callable[[], int], records: TouchedRecords) -> None:
        self._clock_ms = clock_ms
        self._records = records
        self._record_index = RecordIndex()

    def write_ordinary(
        self, tx: WriteTransaction, head: LockedHead, changes: Sequence[Change], origins: Sequence[str]
    ) -> Written:
        """`origins`: of each change the peer site that it comes from; empty: it is made here."""
        written = self._write_changes(tx, head, changes, origins)
        # What takes no position of its own is told to other sites with the others, or else with an entry made for it:
        # sites have asked for everything up to the present head already.
        is_entry_needed = not any(written.positions)
        next_head = written.head + is_entry_needed
        noted = self._records.note(
            tx,
            (
                (position or next_head, kind, key)
                for change, position, result, origin in zip(
                    changes, written.positions, written.results, origins, strict=True
                )
                if not origin
                for kind, key in change.records(result)
            ),
        )
        if noted and is_entry_needed:
            self._add_entry(tx, head, written)
        return written

    def _add_entry(self, tx: WriteTransaction, head: LockedHead, written: Written) -> None:
        added = self._write_changes(tx, head, [RecordsTouched()], [""])
        written.head = added.head
        written.changes = [*written.changes, *added.changes]
        written.keys += added.keys
        written.positions += added.positions
        written.results += added.results

    def write_arrival(self, tx: WriteTransaction, head: LockedHead, arrival: Arrival) -> Written:
        """Raises what `decide` raises."""
        # Nobody may write between the decision and what follows from it.
        head.move(0)
        arrived = arrival.decide(tx)
        origins = [arrival.origin] * len(arrived.changes)
        written = self._write_changes(tx, head, arrived.changes, origins)
        if arrived.versions and not any(written.positions):
            self._add_entry(tx, head, written)
        merged = [(written.head, kind, key, version) for kind, key, version in arrived.versions]
        self._record_index.write_merged(tx, merged)
        return written

    def _write_changes(
        self, tx: WriteTransaction, head: LockedHead, changes: Sequence[Change], origins: Sequence[str]
    ) -> Written:
        logged = sum(change.logged for change in changes)
        written = Written(head.move(logged), changes)
        next_position = written.head - logged
        for change in changes:
            if change.logged:
                next_position += 1
            written.positions.append(next_position if change.logged else 0)
            written.keys.append(change.key() if change.logged else ())
        self._write_log(tx, written, origins)
        written.results = [None] * len(changes)
        for run in _runs(changes):
            results = type(changes[run[0]]).write(tx, [(written.positions[at], changes[at]) for at in run])
            if results is not None:
                for at, result in zip(run, results, strict=True):
                    written.results[at] = result
        return written

    def _write_log(self, tx: WriteTransaction, written: Written, origins: Sequence[str]) -> None:
        kinds = tx.intern({change.kind for change in written.changes if change.logged})
        sites = {"": 0, **tx.intern({origin for origin in origins if origin})}
        now_ms = self._clock_ms()
        tx.later(
            "INSERT INTO log (position, kind, at_ms, entry_key, origin) VALUES (?, ?, ?, ?, ?)",
            [
                (position, kinds[change.kind], now_ms, orjson.dumps(key), sites[origin])
                for position, change, key, origin in zip(
                    written.positions, written.changes, written.keys, origins, strict=True
                )
                if change.logged
            ],
        )


def _runs(changes: Sequence[Change]) -> list[list[int]]:
    """Indexes of changes to be written together: per area in order, neighbours of one type in one run."""
    runs_before: list[list[int]] = []
    by_area: dict[str, list[list[int]]] = {}
    for at, change in enumerate(changes):
        is_neighbor = at > 0 and type(changes[at - 1]) is type(change)
        if change.is_barrier and not is_neighbor:
            runs_before += chain.from_iterable(by_area.values())
            by_area = {}
        runs = by_area.setdefault(change.area, [])
        if runs and type(changes[runs[-1][-1]]) is type(change):
            runs[-1].append(at)
        else:
            runs.append([at])
    return [*runs_before, *chain.from_iterable(by_area.values())]
