"""How far duties have come: the latest lease counts, and in it whoever says more."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from storage.database import Transaction
from storage.duties import DutiesRepository, Progress, SaveProgress, is_later
from storage.replication.record import Key, Record, Taken, Version


class DutyProgressKind:
    name: Final = SaveProgress.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        repository = DutiesRepository()
        found = {key: repository.find_progress(tx, key[0]) for key in keys}
        return {key: asdict(progress) for key, progress in found.items() if progress is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        duty = record.key[0]
        progress = Progress(**record.value)
        known = DutiesRepository().find_progress(tx, duty)
        if known is not None and not is_later(progress, known):
            return None
        return Taken((SaveProgress(duty, progress),))


DUTY_PROGRESS: Final = DutyProgressKind()
