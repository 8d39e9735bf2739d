"""The table of record versions: what this site has, and since which place in its log."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.replication.record import Key, Version
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """That a record has this version here, without its value."""

    position: int
    """The place in this site's log at which the version was written here."""
    kind: str
    key: Key
    version: Version


class RecordIndex:
    """Reads and writes the versions of records."""

    def write_own(
        self, tx: WriteTransaction, site: str, clock: int, touched: Iterable[tuple[int, str, Key]]
    ) -> None:
        """Records (position, kind, key) that this site just changed.

        Each gets `clock`, or one more than the version before had: a clock that was set back must not make a change
        look older than what it replaced.
        """
        rows = self._rows(
            tx, ((position, kind, key, Version(clock, site)) for position, kind, key in touched)
        )
        tx.later(
            "INSERT INTO records (kind, record_key, position, clock, site) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, record_key) DO UPDATE SET position = excluded.position, site = excluded.site,"
            " clock = CASE WHEN excluded.clock > records.clock THEN excluded.clock ELSE records.clock + 1 END",
            rows,
        )

    def write_merged(self, tx: WriteTransaction, merged: Iterable[tuple[int, str, Key, Version]]) -> None:
        """Versions (position, kind, key, version) that arrived and were taken in."""
        tx.later(
            "INSERT INTO records (kind, record_key, position, clock, site) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, record_key) DO UPDATE SET position = excluded.position, site = excluded.site,"
            " clock = excluded.clock",
            self._rows(tx, merged),
        )

    def forget(self, tx: WriteTransaction, kind: str, keys: Iterable[Key]) -> None:
        """Drop the versions of records that nobody needs to hear of any more."""
        number = tx.name_id(kind)
        tx.later(
            "DELETE FROM records WHERE kind = ? AND record_key = ?",
            [(number, _key_bytes(key)) for key in keys] if number is not None else [],
        )

    def forget_below(self, tx: WriteTransaction, kind: str, beginning: Key) -> None:
        """The same for all keys that begin so."""
        prefix = orjson.dumps(beginning)[:-1] + b","
        tx.run(
            "DELETE FROM records WHERE kind = ? AND record_key >= ? AND record_key < ?",
            (tx.name_id(kind), prefix, prefix + b"\xff"),
        )

    def get_versions(self, tx: Transaction, kind: str, keys: Sequence[Key]) -> Mapping[Key, Version]:
        """The versions of those that have one."""
        kind_nid = tx.name_id(kind)
        if kind_nid is None:
            return {}
        by_bytes = {_key_bytes(key): key for key in keys}
        wanted = list(by_bytes)
        rows = [
            row
            for at in range(0, len(wanted), IN_LIST_LIMIT)
            for row in tx.all(
                "SELECT record_key, clock, site FROM records WHERE kind = ? AND record_key IN (??)",
                (kind_nid, wanted[at : at + IN_LIST_LIMIT]),
            )
        ]
        names = tx.names_of(row[2] for row in rows)
        return {by_bytes[bytes(row[0])]: Version(row[1], names[row[2]]) for row in rows}

    def read_after(self, tx: Transaction, position: int, upto: int, limit: int) -> list[IndexedRecord]:
        """Versions written here at positions `position` < p <= `upto`, in order.

        At least `limit` if there are as many: never only some of those that share a position.
        """
        bound = tx.value(
            "SELECT position FROM records WHERE position > ? AND position <= ? ORDER BY position LIMIT 1 OFFSET ?",
            (position, upto, limit - 1),
        )
        rows = tx.all(
            "SELECT position, kind, record_key, clock, site FROM records WHERE position > ? AND position <= ?"
            " ORDER BY position",
            (position, upto if bound is None else bound),
        )
        names = tx.names_of(nid for row in rows for nid in (row[1], row[4]))
        return [
            IndexedRecord(row[0], names[row[1]], tuple(orjson.loads(row[2])), Version(row[3], names[row[4]]))
            for row in rows
        ]

    def _rows(
        self, tx: WriteTransaction, versions: Iterable[tuple[int, str, Key, Version]]
    ) -> list[tuple[int, bytes, int, int, int]]:
        # The last one of a key wins: one statement must not meet a row twice.
        last = {(kind, key): (position, version) for position, kind, key, version in versions}
        names = tx.intern({kind for kind, _ in last} | {version.site for _, version in last.values()})
        return [
            (names[kind], _key_bytes(key), position, version.clock, names[version.site])
            for (kind, key), (position, version) in last.items()
        ]


def _key_bytes(key: Key) -> bytes:
    return orjson.dumps(key)
