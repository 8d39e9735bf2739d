"""The receiving half of a link: makes a stretch of a peer's log part of this site.

The events of a batch, its records and the cursor go to the disk with one transaction if they can: a batch that fits
into memory's picture of its rooms costs one wait for the disk. Whatever came of the rest, the cursor moves only from
where the batch begins, which is checked in the transaction that moves it, and only if all events of the batch were
written: a crash between any two steps leaves a cursor of which everything before it is here.

A peer may send further batches while one is still being written. They are placed in the order of its log, each when the
one before it is on its way to the disk.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from federation.sites.batch import Acknowledgement, Batch, InvalidBatch, ReceivedEvent
from federation.sites.checked_event import CheckedEvent
from federation.sites.moments import Sleep, within
from federation.sites.pipeline import Placed
from federation.sites.screen_records import ScreenRecords
from storage.committer import Committed, Committer
from storage.database import Database, Waiter, WriteTransaction
from storage.replication.apply_records import ApplyRecords
from storage.replication.own_site import SeePeerLog
from storage.site_links import MoveSiteCursor, SiteLinksRepository
from storage.write_batch import Arrival, Arrived

logger = logging.getLogger(__name__)

T = TypeVar("T")

SLICE: Final = 25
"""Events that are placed without a pause: nobody else is served meanwhile."""
PREDECESSOR_S: Final = 3.0
"""How long a batch waits for the one before it, which was sent first and may take another way."""


class PlaceEvent(Protocol):
    """Makes events of a peer part of their rooms; `federation.sites.place_event.PlaceSiteEvent`."""

    async def check(self, site: str, received: Sequence[ReceivedEvent]) -> Sequence[CheckedEvent]:
        """Those that are events; the others are refused for good."""

    def looked_up(self, events: Sequence[CheckedEvent]) -> AbstractAsyncContextManager[None]:
        """Around placing these."""

    async def place(self, site: str, placing: CheckedEvent) -> None:
        """Part of its room when it returns, or refused for good. Raises what may be otherwise the next time."""

    def take_placed(self, site: str) -> Placed:
        """What was placed since the last call."""

    async def keep_unwritable(self, site: str, received: Sequence[ReceivedEvent], placed: Placed) -> None:
        """Keep for later what cannot be written, and what stands on it, once it was tried in vain for long enough.

        Raises `CommitFailed`, `NoRoomToHold`.
        """


class _Line:
    """Batches of one log, in the order of the log."""

    def __init__(self) -> None:
        self.turns = DeferredLock()
        self.newest: dict[int, Batch] = {}
        """By where they begin, those that wait or are taken in."""
        self.reached: int | None = None
        """Up to here everything is on disk, or on its way there; None: the database knows."""
        self.moved: list[Deferred[None]] = []

    def reach(self, position: int) -> None:
        self.reached = position
        moved, self.moved = self.moved, []
        for each in moved:
            each.callback(None)


class TakeBatch:
    """Takes batches of all peers; of one peer, one after the other."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        apply: ApplyRecords,
        place: PlaceEvent,
        sleep: Sleep,
    ) -> None:
        self._database = database
        self._committer = committer
        self._apply = apply
        self._place = place
        self._sleep = sleep
        self._links = SiteLinksRepository()
        self._screen = ScreenRecords(committer, apply)
        self._logs: dict[str, str] = {}
        self._lines: dict[str, _Line] = {}

    async def get_cursor(self, log: str) -> int:
        """The position of a peer's log up to which everything is on disk here."""
        return await self._database.read(lambda tx: self._links.get_cursor(tx, log))

    async def take(self, batch: Batch) -> Acknowledgement:
        """On disk when it returns.

        Raises `InvalidBatch`, `CommitFailed`, `NoRoomToHold` and what fetching from the peer raises.

        A peer that lost patience sends again while the first batch is still being taken in: the second one waits for
        it, and of several that wait only the newest is of use.
        """
        line = self._lines.setdefault(batch.log, _Line())
        line.newest[batch.after] = batch
        try:
            await self._until_its_turn(line, batch)
            try:
                if line.newest.get(batch.after) is not batch:
                    raise InvalidBatch("the peer has sent a later one meanwhile")
                arriving, placed = await self._submit(line, batch)
            finally:
                line.turns.release()
            committed = await self._arrived(batch, arriving, placed)
            # Another batch may have failed meanwhile, and the disk been asked too early.
            line.reach(max(batch.upto, line.reached or 0))
        except BaseException:
            # What is on disk is asked of the disk.
            line.reached = None
            raise
        finally:
            if line.newest.get(batch.after) is batch:
                del line.newest[batch.after]
        return Acknowledgement(batch.upto, committed.position)

    async def _arrived(self, batch: Batch, arriving: Waiter[Committed], placed: Placed) -> Committed:
        try:
            return await arriving
        except InvalidBatch:
            raise
        except Exception as error:
            # The peer will send it again: then without what cannot be written.
            if placed.unwritable:
                await self._place.keep_unwritable(batch.site, batch.events, placed)
            else:
                await self._screen.screen(batch.site, batch.records, error)
            raise

    async def _until_its_turn(self, line: _Line, batch: Batch) -> None:
        """The line is this batch's when it returns. Raises `InvalidBatch` if there is something missing before it."""
        has_waited = False
        while True:
            await line.turns.acquire()
            try:
                if line.reached is None:
                    line.reached = await self.get_cursor(batch.log)
                is_next = batch.after <= line.reached
            except BaseException:
                line.turns.release()
                raise
            if is_next:
                return
            line.turns.release()
            if has_waited:
                raise InvalidBatch(f"the batch begins at {batch.after}, and only {line.reached} is here")
            moved: Deferred[None] = Deferred()
            line.moved.append(moved)
            try:
                has_waited = not await within(PREDECESSOR_S, moved, self._sleep)
            finally:
                if moved in line.moved:
                    line.moved.remove(moved)

    async def _submit(self, line: _Line, batch: Batch) -> tuple[Waiter[Committed], Placed]:
        """Place the events; when this returns the batch is in the committer's queue, as a whole."""
        await self._see_log(batch)
        *slices, last = _slices(batch.events)
        try:
            for events in slices:
                await self._place_slice(batch.site, events, lambda: None)
            return await self._place_slice(batch.site, last, lambda: self._arrive(line, batch))
        except BaseException:
            # The next try must not meet what is still under way.
            await self._let_settle(batch)
            raise

    async def _see_log(self, batch: Batch) -> None:
        # Of a log that is new, its predecessor's keys are lost: before this one's are heard of.
        if self._logs.get(batch.site) != batch.log:
            await self._committer.submit((SeePeerLog(batch.site, batch.log),), origin=batch.site)
            self._logs[batch.site] = batch.log

    async def _place_slice(self, site: str, received: Sequence[ReceivedEvent], then: Callable[[], T]) -> T:
        """Rooms beside each other, the events of each in their order; what `then` submits comes behind them."""
        checked = await self._place.check(site, received)
        by_room: dict[str, list[CheckedEvent]] = {}
        for each in checked:
            by_room.setdefault(each.event.room_id, []).append(each)
        async with self._place.looked_up(checked):
            with self._committer.together():
                work = [
                    Deferred.fromCoroutine(self._place_in_order(site, queue)) for queue in by_room.values()
                ]
                # All of them end before the first failure is told.
                placing: Deferred[Any] = DeferredList(work, consumeErrors=True)
                # Mostly nothing waits for anything, and this happens before the block ends.
                placing.addCallback(_raise_first).addCallback(lambda _: then())
            result: T = await placing
            return result

    async def _place_in_order(self, site: str, events: Sequence[CheckedEvent]) -> None:
        for event in events:
            await self._place.place(site, event)

    def _arrive(self, line: _Line, batch: Batch) -> tuple[Waiter[Committed], Placed]:
        placed = self._place.take_placed(batch.site)
        moved = MoveSiteCursor(batch.log, batch.upto, batch.seen)

        def decide(tx: WriteTransaction) -> Arrived:
            # In a transaction of its own it comes after events of which one may have failed.
            placed.check()
            cursor = self._links.get_cursor(tx, batch.log)
            if batch.after > cursor:
                raise InvalidBatch(f"the batch begins at {batch.after}, and only {cursor} is here")
            return self._apply.arrive(tx, batch.records, moved)

        arriving = self._committer.submit_arrival(Arrival(batch.site, decide))
        line.reach(max(batch.upto, line.reached or 0))
        return arriving, placed

    async def _let_settle(self, batch: Batch) -> None:
        placed = self._place.take_placed(batch.site)
        try:
            await placed.settled()
        except Exception:
            # Why the batch failed is told by what it failed of first.
            logger.info("Of a batch of site %s not all events were written", batch.site, exc_info=True)
        if placed.unwritable:
            await self._place.keep_unwritable(batch.site, batch.events, placed)


def _slices(events: Sequence[ReceivedEvent]) -> Sequence[Sequence[ReceivedEvent]]:
    """One at least, if an empty one."""
    return [events[at : at + SLICE] for at in range(0, len(events), SLICE)] or [()]


def _raise_first(outcomes: Sequence[tuple[bool, Any]]) -> None:
    for succeeded, failure in outcomes:
        if not succeeded:
            failure.raiseException()
