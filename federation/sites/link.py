"""The sending half of a link: hands this site's log to one peer, in order, for ever.

    STOPPED -> ASKING      by start(): how far is the peer?
    ASKING -> SENDING      the peer said
    SENDING -> IDLE        the peer has everything
    IDLE -> SENDING        the log moved on
    ASKING, SENDING -> WAITING   the peer does not answer
    WAITING -> ASKING      after a while
    any -> STOPPED         by stop()

A few batches are under way at a time, so a slow peer costs a few batches of memory, however far it is behind: the next
one is read and sent while the peer writes the one before. On a short way a batch gathers what is written until the one
before it is answered; on a long one they follow each other closely. The peer takes them in the order of the log. The
cursor is the peer's: it is asked for after each interruption, so nothing that was confirmed is sent again. A batch that
was not answered in time was perhaps too much for the peer, or for the way there: the next one is half as large, and
alone.
"""

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from federation.sites.batch import Acknowledgement
from federation.sites.lag import Lag
from federation.sites.moments import Sleep, within
from federation.sites.note_marks import NoteMarks
from federation.sites.peer import PeerSite, PeerUnreachable
from federation.sites.read_batch import MAX_BYTES, OutgoingBatch, ReadBatch
from storage.change import LogEntry
from storage.committer import CommitFailed, Committer
from storage.engines.engine import StorageError
from storage.log import Log
from storage.site_links import NotePeerKnows
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
SMALLEST_BYTES: Final = 16 * 1024
"""Of a batch to a peer that does not manage larger ones."""
EMPTY_AFTER_S: Final = 0.5
"""What concerns only this site moves the peer's cursor too, but waits a little for something better to travel with."""


MAX_UNDER_WAY: Final = 4
"""Batches; after an interruption one, and one more with each answer."""
SPACING_S: Final = 0.02
"""Between batches of which the first is not answered yet, unless there is a backlog."""


class LinkState(Enum):
    STOPPED = "stopped"
    ASKING = "asking"
    SENDING = "sending"
    IDLE = "idle"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class LinkProgress:
    """How a link stands, for metrics and `site status`."""

    peer: str
    state: LinkState
    confirmed: int
    """The position of this site's log that the peer has on its disk, as far as this site knows."""
    backlog: int
    """Positions between there and the log's end."""
    lag_ms: int
    """How long ago the oldest of these was written; since this process started at most."""
    last_contact_ms: int | None
    last_error: str | None


class SiteLink:
    """One peer."""

    def __init__(
        self,
        name: str,
        peer: PeerSite,
        read_batch: ReadBatch,
        log: Log,
        committer: Committer,
        sleep: Sleep,
        now_ms: Callable[[], int],
        confirmed: Callable[[str, int], None],
    ) -> None:
        """`confirmed(peer, position)` hears of each acknowledgement; up to the position nothing can be lost."""
        self.name = name
        self._peer = peer
        self._read_batch = read_batch
        self._log = log
        self._marks = NoteMarks(committer, sleep)
        self._lag = Lag()
        self._sleep = sleep
        self._now_ms = now_ms
        self._confirmed = confirmed
        self._state = LinkState.STOPPED
        self._cursor = 0
        self._safe = 0
        """All that this site's log says up to here is with the peer, or something newer in its place."""
        self._sent = 0
        """Batches up to here are under way, or confirmed."""
        self._looked = 0
        """Between `_sent` and here nothing concerns the peer."""
        self._empty_since_ms: int | None = None
        """Since when there is something of which only the position is to be told."""
        self._sent_ms = 0
        self._is_behind = False
        self._under_way: list[Deferred[None]] = []
        self._window = 1
        self._failure: Failure | None = None
        self._is_following = False
        self._max_bytes = MAX_BYTES
        self._pause_s = FIRST_PAUSE_S
        self._last_contact_ms: int | None = None
        self._last_error: str | None = None
        self._moved: Deferred[None] | None = None
        self._work: Deferred[None] | None = None

    @property
    def progress(self) -> LinkProgress:
        return LinkProgress(
            self.name,
            self._state,
            self._cursor,
            max(0, self._log.position - self._cursor),
            self._lag.get_ms(self._now_ms()),
            self._last_contact_ms,
            self._last_error,
        )

    def start(self) -> None:
        self._log.follow(self._follow)
        self._state = LinkState.ASKING
        self._work = Deferred.fromCoroutine(self._run())
        self._work.addErrback(self._ended)

    async def stop(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            self._state = LinkState.STOPPED
            self._log.unfollow(self._follow)
            work.cancel()
            self._abandon()
            self._marks.stop()

    def try_now(self) -> None:
        """The peer called: it is there."""
        if self._state is LinkState.WAITING:
            self._pause_s = FIRST_PAUSE_S
            self._wake()

    def _ended(self, failure: Any) -> None:
        if failure.check(CancelledError) is None or self._state is not LinkState.STOPPED:
            logger.critical("The link to site %s stopped: %s", self.name, failure)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        self._lag.wrote(entries[0].position, self._now_ms())
        if self._is_following:
            self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.callback(None)

    async def _run(self) -> None:
        while self._state is not LinkState.STOPPED:
            try:
                self._state = LinkState.ASKING
                cursor = await self._peer.get_cursor()
                self._cursor = cursor.position
                self._safe = min(self._safe, cursor.position)
                if cursor.position < self._log.position:
                    self._lag.found(cursor.position, self._now_ms())
                self._heard(cursor.position, cursor.position >= self._log.position)
                await self._send_on(cursor.log)
            except (PeerUnreachable, StorageError, CommitFailed) as error:
                await self._wait(error)
            except Exception as error:
                if self._state is LinkState.STOPPED:
                    raise
                # A link that has ended for good would let the sites drift apart until somebody looks at them.
                logger.critical("The link to site %s failed", self.name, exc_info=True)
                await self._wait(error)

    async def _send_on(self, peer_log: str) -> None:
        self._sent = self._looked = self._cursor
        self._empty_since_ms = None
        try:
            while self._state is not LinkState.STOPPED:
                self._check_under_way()
                if self._looked >= self._log.position and not self._is_empty_due():
                    await self._idle()
                    continue
                self._state = LinkState.SENDING
                pause_s = self._pause_before_next_s()
                if pause_s:
                    await self._moved_within(pause_s)
                    continue
                await self._send_next(peer_log)
        finally:
            self._abandon()

    async def _send_next(self, peer_log: str) -> None:
        batch = await self._read_batch.read(self.name, peer_log, self._sent, self._looked, self._max_bytes)
        self._looked = batch.upto
        if batch.is_empty and not self._is_empty_due():
            if self._empty_since_ms is None:
                self._empty_since_ms = self._now_ms()
            return
        self._empty_since_ms = None
        self._sent = batch.upto
        self._sent_ms = self._now_ms()
        self._is_behind = not batch.is_all
        work: Deferred[None] = Deferred.fromCoroutine(self._deliver(peer_log, batch))
        self._under_way.append(work)
        work.addCallbacks(lambda _: self._delivered(work), lambda failure: self._failed(work, failure))

    def _is_empty_due(self) -> bool:
        since_ms = self._empty_since_ms
        return since_ms is not None and self._now_ms() - since_ms >= 1000 * EMPTY_AFTER_S

    def _pause_before_next_s(self) -> float:
        """How long the next batch waits, unless one that is under way is answered; 0: not at all."""
        if not self._under_way:
            return 0.0
        if len(self._under_way) >= self._window:
            return LONGEST_PAUSE_S
        if self._is_behind:
            return 0.0
        # What comes one by one is gathered, but not for as long as the way to the peer is.
        return max(0.0, SPACING_S - (self._now_ms() - self._sent_ms) / 1000)

    async def _deliver(self, peer_log: str, batch: OutgoingBatch) -> None:
        acknowledged = await self._send(batch)
        if self._state is LinkState.STOPPED:
            return
        self._cursor = max(self._cursor, acknowledged.position)
        self._heard(acknowledged.position, batch.is_all)
        self._marks.note(NotePeerKnows(peer_log, acknowledged.at, acknowledged.position))

    def _delivered(self, work: "Deferred[None]") -> None:
        if work not in self._under_way:
            return
        self._under_way.remove(work)
        self._window = min(self._window + 1, MAX_UNDER_WAY)
        self._wake()

    def _failed(self, work: "Deferred[None]", failure: Failure) -> None:
        if work not in self._under_way:
            # It was given up.
            return
        self._under_way.remove(work)
        self._failure = self._failure or failure
        self._wake()

    def _check_under_way(self) -> None:
        """Raises what a batch failed of. Those behind it are of no use."""
        failure, self._failure = self._failure, None
        if failure is not None:
            failure.raiseException()

    def _abandon(self) -> None:
        self._window = 1
        under_way, self._under_way = self._under_way, []
        for work in under_way:
            work.cancel()
        self._failure = None

    async def _send(self, batch: OutgoingBatch) -> Acknowledgement:
        try:
            acknowledged = await self._peer.send(batch.body)
        except PeerUnreachable:
            self._max_bytes = max(SMALLEST_BYTES, min(self._max_bytes, len(batch.body)) // 2)
            raise
        if acknowledged.position < batch.upto:
            # Going on would be to send the same again and again, without a pause.
            raise PeerUnreachable(f"only {acknowledged.position} of {batch.upto} was confirmed")
        self._max_bytes = min(self._max_bytes + SMALLEST_BYTES, MAX_BYTES)
        return acknowledged

    async def _idle(self) -> None:
        """Until the log moves, a batch fails, or it is time to tell of what does not concern the peer."""
        if not self._under_way:
            self._state = LinkState.IDLE
        self._is_following = True
        try:
            if self._empty_since_ms is None:
                self._moved = Deferred()
                await self._moved
            else:
                waited_s = (self._now_ms() - self._empty_since_ms) / 1000
                await self._moved_within(max(0.0, EMPTY_AFTER_S - waited_s))
        finally:
            self._is_following = False

    def _heard(self, position: int, is_all: bool) -> None:
        self._last_contact_ms = self._now_ms()
        self._last_error = None
        self._pause_s = FIRST_PAUSE_S
        self._lag.confirmed(self._cursor, self._log.position)
        if is_all:
            self._safe = max(self._safe, position)
        # In the middle of a backlog a record may have moved behind the position, with what is to be confirmed of it.
        self._confirmed(self.name, self._safe)

    async def _wait(self, error: Exception) -> None:
        if self._last_error is None:
            logger.warning("Site %s does not answer: %s", self.name, error)
        self._last_error = str(error)
        self._state = LinkState.WAITING
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        await self._moved_within(pause_s)

    async def _moved_within(self, delay_s: float) -> None:
        """Until somebody wakes the link, but no longer than this."""
        self._moved = Deferred()
        try:
            await within(delay_s, self._moved, self._sleep)
        finally:
            self._moved = None
