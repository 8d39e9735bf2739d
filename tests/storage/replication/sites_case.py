"""Several sites of one organisation, as databases that exchange records by hand."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from storage.change import Change
from storage.committer import Committed, Committer
from storage.database import Database, Transaction
from storage.engines.engine import Engine
from storage.log import Log, LogRepository
from storage.migrate import migrate
from storage.names import Names
from storage.replication.apply_records import ApplyRecords
from storage.replication.export_records import ExportRecords, PlacedRecord
from storage.replication.hybrid_clock import HybridClock
from storage.replication.kinds.all_kinds import ALL_KINDS
from storage.replication.own_records import OwnRecords
from storage.replication.own_site import become_site
from storage.replication.record import Record
from storage.write_batch import Arrival
from tests.storage.storage_case import SilentObserver, synchronous

T = TypeVar("T")


class StoredSite:
    """One site's database, committer and records. Its clock stands still unless it is set."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.now_ms = 1_000_000
        self.database = Database(engine, synchronous, synchronous, Names(1000))
        migrate(engine, self.database, lambda number: None)
        self.log = Log(1000)
        self.log.start_at(self.database.read_now(LogRepository().get_position))
        clock = HybridClock(lambda: self.now_ms)
        self.committer = Committer(
            self.database,
            self.log,
            SilentObserver(),
            lambda: self.now_ms,
            lambda: 0.0,
            records=OwnRecords(name, clock),
        )
        self.apply = ApplyRecords(name, ALL_KINDS, clock)
        self.exports = ExportRecords(ALL_KINDS)

    def become(self, log: str) -> None:
        """Begin as a site that has this log."""
        self.database.write_now(lambda tx: become_site(tx, self.name, log, ()))

    def commit(self, *changes: Change) -> Committed:
        return _now(self.committer.commit(*changes))

    def export(self, peer: str, after: int = 0, limit: int = 1000) -> Sequence[PlacedRecord]:
        return self.read(lambda tx: self.exports.read(tx, peer, after, self.log.position, limit))[0]

    def take_in(self, origin: str, records: Iterable[Record]) -> Committed:
        wanted = list(records)
        return _now(self.committer.take_in(Arrival(origin, lambda tx: self.apply.arrive(tx, wanted))))

    def take_again(self, record: Record) -> Committed:
        """A record that was kept for later."""
        return _now(self.committer.take_in(Arrival("", lambda tx: self.apply.take_again(tx, record))))

    def hear(self, other: "StoredSite") -> None:
        """Everything that the other site has to tell."""
        self.take_in(other.name, (placed.record for placed in other.export(self.name)))

    def read(self, function: Callable[[Transaction], T]) -> T:
        return self.database.read_now(function)

    def all_values(self) -> dict[tuple[str, tuple[str, ...]], Any]:
        """Each record that this site knows, with its value."""

        def read(tx: Transaction) -> dict[tuple[str, tuple[str, ...]], Any]:
            placed, _ = self.exports.read(tx, "", 0, self.log.position, 100_000)
            return {(each.record.kind, each.record.key): each.record.value for each in placed}

        return self.read(read)


def _now(work: Coroutine[Any, Any, T]) -> T:
    results: list[T] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(work).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    return results[0]


class SitesMixin:
    """Sites `anna` and `berta`, and more by `given_site`; on the engine of the class it is mixed with."""

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.anna = self.given_site("anna")
        self.berta = self.given_site("berta")

    def given_site(self, name: str) -> StoredSite:
        site = StoredSite(name, self.make_engine())
        self.addCleanup(site.database.close)  # type: ignore[attr-defined]
        return site

    def make_engine(self) -> Engine:
        raise TypeError("mix in SqliteStorage or PostgresStorage")

    def exchange(self, *sites: StoredSite) -> None:
        """Each site hears of each other twice, so that what came of the first round is told too."""
        for _ in range(2):
            for site in sites:
                for other in sites:
                    if other is not site:
                        site.hear(other)
