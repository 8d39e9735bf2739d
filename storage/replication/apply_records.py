"""Takes in the versions of records that a peer site sent.

Which of them win is decided inside the writing transaction, against what is there at that moment; those that do
become ordinary changes of this site's log, so that everything that follows the log sees them like any other.

Sites of different versions run beside each other. What a newer one sends and this one does not know, or does not
understand, is kept for later (`storage/held_back.py`), and holds up nothing that comes after it.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Final

from storage.accounts import AccountsRepository, MergeAccount
from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.held_back import HeldBackRepository, HoldRecord, ReleaseRecord
from storage.replication.hybrid_clock import HybridClock
from storage.replication.record import Combined, Key, Record, RecordKind, Taken, Version
from storage.replication.record_index import RecordIndex
from storage.write_batch import Arrived

logger = logging.getLogger(__name__)

ACCOUNT: Final = "account"


class NotUnderstood(ValueError):
    """What a record holds is not what this version of the server knows of its kind."""


class ApplyRecords:
    """Makes the work that the committer does for a batch of records."""

    def __init__(self, site: str, kinds: Iterable[RecordKind], clock: HybridClock) -> None:
        self._site = site
        self._kinds = {kind.name: kind for kind in kinds}
        self._clock = clock
        self._index = RecordIndex()

    @property
    def known_kinds(self) -> Collection[str]:
        return self._kinds.keys()

    def arrive(self, tx: WriteTransaction, records: Sequence[Record], *others: Change) -> Arrived:
        """What is to be written for these records, in their order; `others` is written with them, after them.

        What is kept for later is left out.
        """
        held = HeldBackRepository().find_held(tx, records)
        return self._arrive(
            tx, [record for record in records if record not in held] if held else records, *others
        )

    def _arrive(self, tx: WriteTransaction, records: Sequence[Record], *others: Change) -> Arrived:
        changes: list[Change] = []
        versions: list[tuple[str, Key, Version]] = []
        owners = _Owners(tx)
        for kind_name, run in groupby(records, key=lambda record: record.kind):
            kind = self._kinds.get(kind_name)
            if kind is None:
                changes.extend(HoldRecord(record, "its kind is not known here") for record in run)
                continue
            owned = [record for record in run if not kind.is_of_user or owners.agree(record)]
            self._merge(tx, kind, owned, changes, versions)
            if kind_name == ACCOUNT:
                owners.note(changes)
        return Arrived((*changes, *others), tuple(versions))

    def take_again(self, tx: WriteTransaction, record: Record) -> Arrived:
        """The same for a record that was kept for later; it waits on if it is still not understood."""
        arrived = self._arrive(tx, (record,))
        if any(isinstance(change, HoldRecord) for change in arrived.changes):
            return Arrived((), ())
        return Arrived((*arrived.changes, ReleaseRecord(record)), arrived.versions)

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
            try:
                outcome = _merge_one(tx, kind, record, present.get(key))
            except NotUnderstood as error:
                changes.append(HoldRecord(record, str(error)))
                continue
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


def _merge_one(
    tx: Transaction, kind: RecordKind, record: Record, present: Version | None
) -> Taken | Combined | None:
    try:
        return kind.merge(tx, record, present)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        # Of another form than this version writes. It reads only, so nothing of it is left.
        logger.warning("A record of kind %s is kept, since it is not understood: %r", kind.name, error)
        raise NotUnderstood(f"{type(error).__name__}: {error}") from error


class _Owners:
    """Which incarnation of their accounts users have here, with what a batch changes about that."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._known: dict[str, str | None] = {}
        self._accounts = AccountsRepository()

    def agree(self, record: Record) -> bool:
        """Whether a record is of the account that the user has here."""
        if not record.key:
            # It is of nobody, and not understood in a moment.
            return True
        user_id = record.key[0]
        if user_id not in self._known:
            self._known[user_id] = self._accounts.find_incarnation(self._tx, user_id)
        return self._known[user_id] == record.owner

    def note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, MergeAccount):
                self._known[change.user_id] = change.incarnation
