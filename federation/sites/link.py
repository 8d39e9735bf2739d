"""The sending half of a link: hands this site's log to one peer, in order, for ever.

    STOPPED -> ASKING      by start(): how far is the peer?
    ASKING -> SENDING      the peer said
    SENDING -> IDLE        the peer has everything
    IDLE -> SENDING        the log moved on
    ASKING, SENDING -> WAITING   the peer does not answer
    WAITING -> ASKING      after a while
    any -> STOPPED         by stop()

One batch is under way at a time, so a slow peer costs one batch of memory, however far it is behind. The cursor is
the peer's: it is asked for after each interruption, so nothing that was confirmed is sent again. A batch that was not
answered in time was perhaps too much for the peer, or for the way there: the next one is half as large.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred

from federation.sites.batch import Acknowledgement
from federation.sites.moments import Sleep, within
from federation.sites.peer import PeerSite, PeerUnreachable
from federation.sites.read_batch import MAX_BYTES, OutgoingBatch, ReadBatch
from storage.change import LogEntry
from storage.committer import CommitFailed, Committer
from storage.engines.engine import StorageError
from storage.log import Log
from storage.site_links import NotePeerKnows

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
SMALLEST_BYTES: Final = 16 * 1024
"""Of a batch to a peer that does not manage larger ones."""
EMPTY_AFTER_S: Final = 0.5
"""What concerns only this site moves the peer's cursor too, but waits a little for something better to travel with."""


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
        """`confirmed(peer, position)` hears of each acknowledgement."""
        self.name = name
        self._peer = peer
        self._read_batch = read_batch
        self._log = log
        self._committer = committer
        self._sleep = sleep
        self._now_ms = now_ms
        self._confirmed = confirmed
        self._state = LinkState.STOPPED
        self._cursor = 0
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

    def try_now(self) -> None:
        """The peer called: it is there."""
        if self._state is LinkState.WAITING:
            self._pause_s = FIRST_PAUSE_S
            self._wake()

    def _ended(self, failure: Any) -> None:
        if failure.check(CancelledError) is None or self._state is not LinkState.STOPPED:
            logger.critical("The link to site %s stopped: %s", self.name, failure)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if self._state is LinkState.IDLE:
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
                self._heard(cursor.position)
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
        while self._state is not LinkState.STOPPED:
            if self._cursor >= self._log.position:
                await self._idle()
            self._state = LinkState.SENDING
            batch = await self._read_batch.read(self.name, peer_log, self._cursor, self._max_bytes)
            if batch.is_empty and batch.upto >= self._log.position:
                self._state = LinkState.IDLE
                await self._moved_within(EMPTY_AFTER_S)
                self._state = LinkState.SENDING
                batch = await self._read_batch.read(self.name, peer_log, self._cursor, self._max_bytes)
            acknowledged = await self._send(batch)
            self._heard(acknowledged.position)
            await self._note(peer_log, acknowledged)

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
        self._state = LinkState.IDLE
        self._moved = Deferred()
        await self._moved

    def _heard(self, position: int) -> None:
        self._last_contact_ms = self._now_ms()
        self._last_error = None
        self._pause_s = FIRST_PAUSE_S
        self._cursor = position
        self._confirmed(self.name, position)

    async def _note(self, peer_log: str, acknowledged: Acknowledgement) -> None:
        await self._committer.commit(NotePeerKnows(peer_log, acknowledged.at, acknowledged.position))

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
