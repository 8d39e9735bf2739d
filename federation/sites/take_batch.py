"""The receiving half of a link: makes a stretch of a peer's log part of this site."""

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from federation.sites.batch import Acknowledgement, Batch, InvalidBatch, ReceivedEvent
from storage.committer import Arrival, Committer
from storage.database import Database
from storage.replication.apply_records import ApplyRecords
from storage.replication.own_site import SeePeerLog
from storage.site_links import MoveSiteCursor, SiteLinksRepository

logger = logging.getLogger(__name__)


class PlaceEvent(Protocol):
    """Makes an event of a peer part of its room; `federation.sites.place_event.PlaceSiteEvent`."""

    async def place(self, site: str, event: ReceivedEvent) -> None:
        """Part of its room when it returns, or refused for good. Raises what may be otherwise the next time."""

    async def settled(self, site: str) -> None:
        """What was placed is on disk. Raises `CommitFailed`."""


class TakeBatch:
    """Takes batches of all peers; of one peer, one at a time."""

    def __init__(
        self, database: Database, committer: Committer, apply: ApplyRecords, place: PlaceEvent
    ) -> None:
        self._database = database
        self._committer = committer
        self._apply = apply
        self._place = place
        self._links = SiteLinksRepository()
        self._logs: dict[str, str] = {}
        self._turns: dict[str, DeferredLock] = {}
        self._newest: dict[str, Batch] = {}

    async def get_cursor(self, log: str) -> int:
        """The position of a peer's log up to which everything is on disk here."""
        return await self._database.read(lambda tx: self._links.get_cursor(tx, log))

    async def take(self, batch: Batch) -> Acknowledgement:
        """On disk when it returns. Raises `InvalidBatch`, `CommitFailed` and what fetching from the peer raises.

        A peer that lost patience sends again while the first batch is still being taken in: the second one waits for
        it, and of several that wait only the newest is of use.
        """
        turns = self._turns.setdefault(batch.log, DeferredLock())
        self._newest[batch.log] = batch
        await turns.acquire()
        try:
            if self._newest.get(batch.log) is not batch:
                raise InvalidBatch("the peer has sent a later one meanwhile")
            return await self._take(batch)
        finally:
            if self._newest.get(batch.log) is batch:
                del self._newest[batch.log]
            turns.release()

    async def _take(self, batch: Batch) -> Acknowledgement:
        cursor = await self.get_cursor(batch.log)
        if batch.after > cursor:
            raise InvalidBatch(f"the batch begins at {batch.after}, and only {cursor} is here")
        await self._place_events(batch.site, batch.events)
        # Of a log that is new, its predecessor's keys are lost: before this one's are heard of.
        if self._logs.get(batch.site) != batch.log:
            await self._committer.submit((SeePeerLog(batch.site, batch.log),), origin=batch.site)
            self._logs[batch.site] = batch.log
        moved = MoveSiteCursor(batch.log, batch.upto, batch.seen)
        arrival = Arrival(batch.site, lambda tx: self._apply.arrive(tx, batch.records, moved))
        committed = await self._committer.take_in(arrival)
        return Acknowledgement(max(cursor, batch.upto), committed.position)

    async def _place_events(self, site: str, events: Sequence[ReceivedEvent]) -> None:
        """Rooms beside each other, the events of each in their order."""
        by_room: dict[str, list[ReceivedEvent]] = {}
        for event in events:
            by_room.setdefault(event.room_id, []).append(event)
        work = [Deferred.fromCoroutine(self._place_in_order(site, queue)) for queue in by_room.values()]
        # All of them end before the first failure is told: the next try must not meet what is still under way.
        outcomes: list[tuple[bool, Any]] = await DeferredList(work, consumeErrors=True)
        await self._place.settled(site)
        for succeeded, failure in outcomes:
            if not succeeded:
                failure.raiseException()

    async def _place_in_order(self, site: str, events: Sequence[ReceivedEvent]) -> None:
        for event in events:
            await self._place.place(site, event)
