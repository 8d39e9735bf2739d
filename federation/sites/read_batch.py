"""Reads the next stretch of this site's log that a peer has not got yet."""

from dataclasses import dataclass
from typing import Final

from federation.sites.batch import LogName, encode_batch
from storage.database import Database, Transaction
from storage.log import Log
from storage.replication.export_records import ExportRecords
from storage.site_links import SiteLinksRepository

MAX_EVENTS: Final = 200
MAX_RECORDS: Final = 500


@dataclass(frozen=True, slots=True)
class OutgoingBatch:
    """Bytes to send, and where in this site's log they end."""

    upto: int
    body: bytes
    is_empty: bool
    """Nothing in it concerns the peer: all of it came from there, or means something here only."""


class ReadBatch:
    def __init__(self, name: LogName, database: Database, log: Log, export: ExportRecords) -> None:
        self._name = name
        self._database = database
        self._log = log
        self._export = export
        self._links = SiteLinksRepository()

    async def read(self, peer: str, peer_log: str, after: int) -> OutgoingBatch:
        """What follows position `after`; a bounded piece of it."""
        upto = self._log.position
        return await self._database.read(lambda tx: self._read(tx, peer, peer_log, after, upto))

    def _read(self, tx: Transaction, peer: str, peer_log: str, after: int, upto: int) -> OutgoingBatch:
        events, covered = self._links.read_events(tx, peer, after, upto, MAX_EVENTS)
        placed, reached = self._export.read(tx, peer, after, covered, MAX_RECORDS)
        if reached < covered:
            # Both kinds reach as far as the shorter of them.
            covered = reached
            events = [event for event in events if event.position <= covered]
        seen = self._links.find_seen(tx, peer_log, covered)
        records = [each.record for each in placed]
        body = encode_batch(self._name, after, covered, seen, events, records)
        return OutgoingBatch(covered, body, not events and not records)
