"""Which other servers are behind: the latest lease counts, and in it the last that its holder said."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.database import Transaction
from storage.lags import KnownLag, LagsRepository, MergeLag, NoteLag
from storage.replication.record import Key, Record, Taken, Version


class LagKind:
    name: Final = NoteLag.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: LagsRepository().find(tx, key[0]) for key in keys}
        return {
            key: {"epoch": lag.epoch, "log": lag.log, "since": lag.since}
            for key, lag in found.items()
            if lag is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None:
            return None
        theirs = KnownLag(record.key[0], value["epoch"], value["log"], value["since"])
        ours = LagsRepository().find(tx, theirs.destination)
        if ours is not None:
            if theirs.epoch < ours.epoch:
                return None
            if theirs.epoch == ours.epoch and present is not None and present >= record.version:
                return None
        return Taken((MergeLag(theirs),))


LAGS: Final = LagKind()
