"""Reads the next stretch of this site's log that a peer has not got yet."""

from collections.abc import Iterable
from typing import Final

from federation.sites.batch import LogName, encode_batch, encode_event, encode_record
from storage.database import Database, Transaction
from storage.log import LogRepository
from storage.replication.export_records import ExportRecords
from storage.site_links import SiteLinksRepository
from synapse_like_config.lazy_dataclasses import dataclass

MAX_EVENTS: Final = 200
MAX_RECORDS: Final = 500
MAX_BYTES: Final = 1024 * 1024
"""Of a batch, unless what stands at one position is more."""


@dataclass(frozen=True, slots=True)
class OutgoingBatch:
    """Bytes to send, and where in this site's log they end."""

    upto: int
    body: bytes
    is_empty: bool
    """Nothing in it concerns the peer: all of it came from there, or means something here only."""
    is_all: bool
    """Behind it there was nothing when it was read. Otherwise a record of this stretch that was changed again, behind
    its end, is not in it.
    """


class ReadBatch:
    def __init__(self, name: LogName, database: Database, export: ExportRecords) -> None:
        self._name = name
        self._database = database
        self._head = LogRepository()
        self._export = export
        self._links = SiteLinksRepository()

    async def read(
        self, peer: str, peer_log: str, after: int, looked: int, max_bytes: int = MAX_BYTES
    ) -> OutgoingBatch:
        """What follows position `after`; a bounded piece of it. Up to `looked` nothing concerns the peer."""
        return await self._database.read(
            lambda tx: self._read(tx, peer, peer_log, (after, looked), max_bytes)
        )

    def _read(
        self, tx: Transaction, peer: str, peer_log: str, positions: tuple[int, int], max_bytes: int
    ) -> OutgoingBatch:
        after, looked = positions
        # Not of the log in memory: what is on disk behind it may have taken records of this stretch along.
        upto = self._head.get_position(tx)
        beginning = self._links.find_beginning(tx, peer_log)
        events, covered = self._links.read_events(tx, peer, looked, upto, MAX_EVENTS, beginning)
        placed, reached = self._export.read(tx, peer, looked, covered, MAX_RECORDS, beginning)
        if reached < covered:
            # Both kinds reach as far as the shorter of them.
            covered = reached
            events = [event for event in events if event.position <= covered]
        encoded_events = [(event.position, encode_event(event)) for event in events]
        encoded_records = [(each.position, encode_record(each.record)) for each in placed]
        covered = _within((*encoded_events, *encoded_records), covered, max_bytes)
        seen = self._links.find_seen(tx, peer_log, covered)
        body = encode_batch(
            self._name,
            after,
            covered,
            seen,
            [body for position, body in encoded_events if position <= covered],
            [body for position, body in encoded_records if position <= covered],
        )
        return OutgoingBatch(covered, body, not events and not placed, covered >= upto)


def _within(pieces: Iterable[tuple[int, bytes]], covered: int, max_bytes: int) -> int:
    """The position up to which these are few enough: `covered`, or less, but never nothing at all."""
    in_order = sorted(pieces, key=lambda piece: piece[0])
    size_bytes = 0
    for position, body in in_order:
        size_bytes += len(body)
        if size_bytes > max_bytes and position > in_order[0][0]:
            # What shares a position stays together.
            return position - 1
    return covered
