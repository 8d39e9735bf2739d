"""Takes in the versions of records that a peer site sent.

Which of them win is decided inside the writing transaction, against what is there at that moment; those that do
become ordinary changes of this site's log, so that everything that follows the log sees them like any other.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from storage.accounts import AccountsRepository, MergeAccount
from storage.change import Change
from storage.committer import Arrived
from storage.database import Transaction, WriteTransaction
from storage.replication.hybrid_clock import HybridClock
from storage.replication.record import Combined, Key, Record, RecordKind, Version
from storage.replication.record_index import RecordIndex

ACCOUNT: Final = "account"


class UnknownKind(ValueError):
    """A peer sent a kind of record that this version of the server does not know."""


class ApplyRecords:
    """Makes the work that the committer does for a batch of records."""

    def __init__(self, site: str, kinds: Iterable[RecordKind], clock: HybridClock) -> None:
        self._site = site
        self._kinds = {kind.name: kind for kind in kinds}
        self._clock = clock
        self._index = RecordIndex()

    def arrive(self, tx: WriteTransaction, records: Sequence[Record], *others: Change) -> Arrived:
        """What is to be written for these records, in their order; `others` is written with them, after them.

        Raises `UnknownKind`.
        """
        changes: list[Change] = []
        versions: list[tuple[str, Key, Version]] = []
        owners = _Owners(tx)
        for kind_name, run in groupby(records, key=lambda record: record.kind):
            kind = self._kinds.get(kind_name)
            if kind is None:
                raise UnknownKind(kind_name)
            owned = [record for record in run if not kind.is_of_user or owners.agree(record)]
            self._merge(tx, kind, owned, changes, versions)
            if kind_name == ACCOUNT:
                owners.note(changes)
        return Arrived((*changes, *others), tuple(versions))

    def _merge(
        self,
        tx: WriteTransaction,
        kind: RecordKind,
        records: Sequence[Record],
        changes: list[Change],
        versions: list[tuple[str, Key, Version]],
    ) -> None:
        # The sender has merged what it sends: if a key comes twice, the later one is what it means.
        latest = {record.key: record for record in records}
        present = self._index.get_versions(tx, kind.name, list(latest))
        for key, record in latest.items():
            self._clock.observe(record.version.clock)
            outcome = kind.merge(tx, record, present.get(key))
            if outcome is None:
                continue
            changes.extend(outcome.changes)
            version = record.version
            if isinstance(outcome, Combined):
                version = Version(self._after(record.version, present.get(key)), self._site)
            versions.append((kind.name, key, version))

    def _after(self, *versions: Version | None) -> int:
        """A clock that is later than all of these, also where they come from a clock that is wrong."""
        return max(self._clock.next(), *(version.clock + 1 for version in versions if version is not None))


class _Owners:
    """Which incarnation of their accounts users have here, with what a batch changes about that."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[str, str | None] = {}
        self._accounts = AccountsRepository()

    def agree(self, record: Record) -> bool:
        """Whether a record is of the account that the user has here."""
        user_id = record.key[0]
        if user_id not in self._known:
            self._known[user_id] = self._accounts.find_incarnation(self._tx, user_id)
        return self._known[user_id] == record.owner

    def note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, MergeAccount):
                self._known[change.user_id] = change.incarnation
