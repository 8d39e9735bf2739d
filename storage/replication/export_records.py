"""Reads the records that a peer site has not heard of yet, with their values of now."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from storage.accounts import AccountsRepository
from storage.database import Transaction
from storage.replication.record import Key, Record, RecordKind
from storage.replication.record_index import IndexedRecord, RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlacedRecord:
    """A record and the place in this site's log at which its version was written here."""

    position: int
    record: Record


class ExportRecords:
    """Records in the order of this site's log. A record that changed several times appears once, where it last did."""

    def __init__(self, kinds: Iterable[RecordKind]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._index = RecordIndex()
        self._accounts = AccountsRepository()

    def read(
        self, tx: Transaction, peer: str, after: int, upto: int, limit: int, beginning: int = 0
    ) -> tuple[Sequence[PlacedRecord], int]:
        """Those written here at positions `after` < p <= `upto`, about `limit` of them, but not what `peer` wrote.

        What came of it before `beginning` it has lost since: it was built anew, perhaps from a third site's copy.

        With the position up to which that is all.
        """
        indexed = self._index.read_after(tx, after, upto, limit)
        covered = indexed[-1].position if len(indexed) >= limit else upto
        indexed = [record for record in indexed if record.version.site != peer or record.position < beginning]
        values = self._values(tx, indexed)
        owners = self._owners(tx, indexed)
        placed = [
            PlacedRecord(
                each.position,
                Record(
                    each.kind,
                    each.key,
                    values.get((each.kind, each.key)),
                    each.version,
                    owners.get(each.key[0]) if self._kinds[each.kind].is_of_user else None,
                ),
            )
            for each in indexed
        ]
        return placed, covered

    def _owners(self, tx: Transaction, indexed: Sequence[IndexedRecord]) -> Mapping[str, str]:
        users = {record.key[0] for record in indexed if self._kinds[record.kind].is_of_user}
        return self._accounts.get_incarnations(tx, list(users))

    def _values(self, tx: Transaction, indexed: Sequence[IndexedRecord]) -> dict[tuple[str, Key], Any]:
        keys: dict[str, list[Key]] = {}
        for record in indexed:
            keys.setdefault(record.kind, []).append(record.key)
        return {
            (kind, key): value
            for kind, wanted in keys.items()
            for key, value in self._kinds[kind].read(tx, wanted).items()
        }
