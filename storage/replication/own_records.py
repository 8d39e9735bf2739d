"""Notes the version of each record that a change of this site touches, in the transaction that writes the change."""

from collections.abc import Iterable

from storage.database import WriteTransaction
from storage.replication.hybrid_clock import HybridClock
from storage.replication.record import Key
from storage.replication.record_index import RecordIndex


class OwnRecords:
    """For an organisation that lives on several sites."""

    def __init__(self, site: str, clock: HybridClock) -> None:
        self._site = site
        self._clock = clock
        self._index = RecordIndex()

    def note(self, tx: WriteTransaction, touched: Iterable[tuple[int, str, Key]]) -> bool:
        """`touched`: (position, kind, key). Whether there were any."""
        records = list(touched)
        if records:
            self._index.write_own(tx, self._site, self._clock.next(), records)
        return bool(records)


class NoRecords:
    """For an organisation on one site: there is nobody to tell."""

    def note(self, tx: WriteTransaction, touched: Iterable[tuple[int, str, Key]]) -> bool:
        return False
