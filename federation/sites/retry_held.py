"""Tries again what peers sent and this site could not make use of (`storage/held_back.py`).

All of it after a start, for this may be a version that knows more; then each event after a pause that grows, and when
something comes into its room, which may be what it stands on.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from federation.room_dag.canonical_json import decode_json
from federation.rooms.accept_event import MissingEvents
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.sites.batch import ReceivedEvent, Unplaceable
from federation.sites.hold_events import FIRST_PAUSE_MS
from federation.transport.errors import FederationError
from storage.change import LogEntry
from storage.committer import CommitFailed, Committer, PeerCommitter
from storage.database import Database
from storage.events import StoreEvent
from storage.held_back import HeldBackRepository, PostponeEvent, ReleaseEvent, TriedEvent
from storage.log import Log
from storage.replication.apply_records import ApplyRecords
from storage.replication.record import Record
from storage.write_batch import Arrival

logger = logging.getLogger(__name__)

LONGEST_PAUSE_MS: Final = 6 * 3600 * 1000
AT_ONCE: Final = 200
_NEVER_MS: Final = 2**62
_EXPECTED: Final = (Unplaceable, FederationError, StateUnavailable, MissingEvents, CommitFailed)


class PlaceAgain(Protocol):
    """Makes an event part of its room; `federation.sites.place_event.PlaceSiteEvent`."""

    async def place_again(self, site: str, received: ReceivedEvent) -> None:
        """On disk when it returns, or refused by its room. Raises why it waits on."""


class RetryHeld:
    """To be run every now and then."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        log: Log,
        apply: ApplyRecords,
        place: PlaceAgain,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._committer = committer
        self._apply = apply
        self._place = place
        self._now_ms = now_ms
        self._repository = HeldBackRepository()
        self._has_run = False
        self._rooms = database.read_now(self._repository.get_rooms)
        self._stirred: set[str] = set()
        """Rooms of which something waits, and into which something came."""
        self.counts = database.read_now(self._repository.count)
        """Of what waited when it was looked at last."""
        log.follow(self._follow)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if self._rooms:
            self._stirred.update(
                entry.key[0]
                for entry in entries
                if entry.kind == StoreEvent.kind and entry.key[0] in self._rooms
            )

    async def run(self) -> None:
        for tried in await self._take_due():
            await self._retry(tried)
        await self._retry_records()
        self.counts = await self._database.read(self._repository.count)
        self._rooms = await self._database.read(self._repository.get_rooms)

    async def _take_due(self) -> Sequence[TriedEvent]:
        until_ms = self._now_ms() if self._has_run else _NEVER_MS
        self._has_run = True
        rooms, self._stirred = self._stirred, set()
        due = list(await self._database.read(lambda tx: self._repository.get_events(tx, until_ms, AT_ONCE)))
        for room_id in rooms:
            due += await self._database.read(
                lambda tx, room_id=room_id: self._repository.get_events_of(tx, room_id, AT_ONCE)  # type: ignore[misc]
            )
        return list({tried.event.digest: tried for tried in due}.values())

    async def _retry(self, tried: TriedEvent) -> None:
        event = tried.event
        received = ReceivedEvent(
            event.room_id, event.room_version, event.is_soft_failed, decode_json(event.pdu)
        )
        try:
            await self._place.place_again(event.site, received)
        except Exception as error:
            if not isinstance(error, _EXPECTED):
                # The others are to be tried all the same.
                logger.critical("An event of %s that was kept failed", event.room_id, exc_info=True)
            pause_ms = min(FIRST_PAUSE_MS * 2 ** min(tried.tries, 20), LONGEST_PAUSE_MS)
            done: PostponeEvent | ReleaseEvent = PostponeEvent(
                event.digest, str(error) or type(error).__name__, self._now_ms() + pause_ms
            )
        else:
            logger.warning("An event of %s that was kept has been taken", event.room_id)
            done = ReleaseEvent(event.digest)
        await PeerCommitter(self._committer, event.site).commit(done)

    async def _retry_records(self) -> None:
        after = -1
        while records := await self._read_records(after):
            for record in records:
                await self._take_again(record)
            after = records[-1].version.clock

    async def _read_records(self, after: int) -> Sequence[Record]:
        kinds = self._apply.known_kinds
        return await self._database.read(lambda tx: self._repository.get_records(tx, kinds, after, AT_ONCE))

    async def _take_again(self, record: Record) -> None:
        arrival = Arrival(record.version.site, lambda tx: self._apply.take_again(tx, record))
        try:
            await self._committer.take_in(arrival)
        except Exception as error:  # noqa: BLE001
            # Whatever it is that a newer version has put into it, as in `screen_records.py`.
            logger.error("A record of kind %s that was kept cannot be written: %r", record.kind, error)
