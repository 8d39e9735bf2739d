"""After a batch of records failed: finds those that cannot be written, and keeps them for later.

The peer sends the batch again; then the others go in together, without those that are kept.
"""

import logging
from collections.abc import Sequence

from federation.sites.write_faults import is_at_fault
from storage.committer import Committer, PeerCommitter
from storage.held_back import HoldRecord
from storage.replication.apply_records import ApplyRecords
from storage.replication.record import Record
from storage.write_batch import Arrival

logger = logging.getLogger(__name__)


class ScreenRecords:
    def __init__(self, committer: Committer, apply: ApplyRecords) -> None:
        self._committer = committer
        self._apply = apply

    async def screen(self, site: str, records: Sequence[Record], error: Exception) -> None:
        """`error` is why they were not taken together. Raises `CommitFailed`, `NoRoomToHold`."""
        if not is_at_fault(error):
            return
        for record in records:
            reason = await self._try(site, record)
            if reason is not None:
                logger.error(
                    "A record of kind %s from site %s is kept for later: %s", record.kind, site, reason
                )
                await PeerCommitter(self._committer, site).commit(HoldRecord(record, reason))

    async def _try(self, site: str, record: Record) -> str | None:
        """Why it cannot be written, if it cannot."""
        try:
            await self._committer.take_in(Arrival(site, lambda tx: self._apply.arrive(tx, (record,))))
        except Exception as error:
            # Whatever it is that a newer version has put into it: it must not end the link.
            if not is_at_fault(error):
                raise
            return f"{type(error).__name__}: {error}"
        return None
