"""Copies the files of all media that this site knows of, so that they outlive the sites where they were uploaded.

    STOPPED -> COPYING     by start()
    COPYING -> IDLE        nothing is to be fetched at the moment
    IDLE -> COPYING        a record of media came, or the time for another try
    COPYING -> WAITING     no site answers
    WAITING -> COPYING     after a while
    any -> STOPPED         by stop()

What is missing is a table (`storage.missing_media`): after a restart it goes on where it was.
"""

import logging
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from popcube_server.services.media.fetch_from_sites import FetchFromSites, NoSiteHasIt, SitesAway
from popcube_server.services.platform import Platform
from storage.change import LogEntry
from storage.committer import CommitFailed, Committer
from storage.database import Database, Transaction
from storage.engines.engine import StorageError
from storage.log import Log
from storage.merge_media import MergeMedia
from storage.missing_media import (
    MissingCount,
    MissingFile,
    MissingMediaRepository,
    MissMediaFile,
    MissNothingForLong,
)

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""While no site answers."""
FIRST_RETRY_MS: Final = 5_000
LONGEST_RETRY_MS: Final = 6 * 3_600_000
"""For a file that no site has: perhaps one that is away now has it."""
LOOK_AGAIN_S: Final = 60.0
COUNT_EVERY_MS: Final = 15_000


class CopyingState(Enum):
    STOPPED = "stopped"
    COPYING = "copying"
    IDLE = "idle"
    WAITING = "waiting"


class CopyingObserver(Protocol):
    """Metrics."""

    def missing(self, count: MissingCount) -> None: ...

    def copied(self, size_bytes: int) -> None: ...


class CopyFromSites:
    def __init__(
        self,
        platform: Platform,
        database: Database,
        committer: Committer,
        log: Log,
        fetch: FetchFromSites,
        observer: CopyingObserver,
    ) -> None:
        self._platform = platform
        self._database = database
        self._committer = committer
        self._log = log
        self._fetch = fetch
        self._observer = observer
        self._missing = MissingMediaRepository()
        self._under_way: set[str] = set()
        self._pause_s = FIRST_PAUSE_S
        self._is_away = False
        self._counted_ms: int | None = None
        self._moved: Deferred[None] | None = None
        self._has_moved = False
        self._work: Deferred[None] | None = None
        self.state = CopyingState.STOPPED

    def start(self) -> None:
        self._log.follow(self._follow)
        self.state = CopyingState.COPYING
        self._work = Deferred.fromCoroutine(self._run())
        self._work.addErrback(self._ended)

    async def try_all(self) -> None:
        """There is a site that was not asked yet: it may have what no other one has."""
        await self._committer.commit(MissNothingForLong())
        self._wake()

    async def stop(self) -> None:
        """Break off what waits; a fetch under way is broken off by `FetchFromSites`."""
        work, self._work = self._work, None
        if work is not None:
            self.state = CopyingState.STOPPED
            self._log.unfollow(self._follow)
            work.cancel()

    def _ended(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None or self.state is not CopyingState.STOPPED:
            logger.critical("Copying media from other sites stopped: %s", failure)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        # What arrived came from a site that is there. Uploads of this one are none of its affair.
        if any(
            entry.kind == MergeMedia.kind and isinstance(entry.change, MergeMedia | None) for entry in entries
        ):
            self._wake()

    def _wake(self) -> None:
        self._has_moved = True
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.callback(None)

    async def _run(self) -> None:
        while self.state is not CopyingState.STOPPED:
            self._has_moved = self._is_away = False
            self.state = CopyingState.COPYING
            try:
                wait_s = await self._begin_some()
            except StorageError as error:
                logger.error("What media are missing could not be read: %s", error)
                wait_s = LONGEST_PAUSE_S
            await self._moved_within(wait_s)
            if self._is_away:
                self._has_moved = False
                self.state = CopyingState.WAITING
                pause_s = self._pause_s
                self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                await self._moved_within(pause_s)

    async def _begin_some(self) -> float:
        """Begin as many fetches as there is room for; how long to wait if nothing happens before."""
        now_ms = self._platform.now_ms()
        due, next_ms, count = await self._database.read(lambda tx: self._read(tx, now_ms))
        if count is not None:
            self._counted_ms = now_ms
            self._observer.missing(count)
        new = [file for file in due if file.file_key not in self._under_way]
        for file in new[: AT_ONCE - len(self._under_way)]:
            self._under_way.add(file.file_key)
            Deferred.fromCoroutine(self._copy(file)).addErrback(self._failed)
        if not self._under_way:
            self.state = CopyingState.IDLE
        if self._under_way or next_ms is None:
            return LOOK_AGAIN_S
        return min(LOOK_AGAIN_S, max(1.0, (next_ms - now_ms) / 1000))

    def _read(
        self, tx: Transaction, now_ms: int
    ) -> tuple[list[MissingFile], int | None, MissingCount | None]:
        due = self._missing.list_due(tx, now_ms, 2 * AT_ONCE)
        next_ms = None if due else self._missing.find_next_retry_ms(tx)
        # Where a million is missing, counting them for each would take longer than fetching.
        is_time = not due or self._counted_ms is None or now_ms - self._counted_ms >= COUNT_EVERY_MS
        return due, next_ms, self._missing.count(tx) if is_time else None

    async def _copy(self, file: MissingFile) -> None:
        try:
            await self._try(file)
        except (OSError, CommitFailed) as error:
            # A full disk, most likely: nothing else would fare better.
            logger.error("Media could not be copied from another site: %s", error)
            self._is_away = True
        finally:
            self._under_way.discard(file.file_key)
            if self.state is not CopyingState.WAITING:
                self._wake()

    async def _try(self, file: MissingFile) -> None:
        try:
            await self._fetch.fetch(file)
        except NoSiteHasIt as error:
            logger.warning("Media are missing: %s", error)
            await self._put_off(file)
        except SitesAway as error:
            logger.info("Media wait for a site: %s", error)
            if self.state is CopyingState.STOPPED:
                return
            if error.is_alone:
                self._is_away = True
            else:
                await self._put_off(file)
        else:
            self._pause_s = FIRST_PAUSE_S
            self._observer.copied(file.size_bytes)

    async def _put_off(self, file: MissingFile) -> None:
        # Others have their turn.
        pause_ms = min(FIRST_RETRY_MS << min(file.tries, 20), LONGEST_RETRY_MS)
        retry_ms = self._platform.now_ms() + pause_ms
        await self._committer.commit(MissMediaFile(file.file_key, file.tries + 1, retry_ms))

    def _failed(self, failure: Failure) -> None:
        if self.state is not CopyingState.STOPPED:
            logger.error("Copying media from another site failed: %s", failure)
            self._is_away = True

    async def _moved_within(self, delay_s: float) -> None:
        """Until something happens, but no longer than this."""
        if self._has_moved:
            return
        moved: Deferred[None] = Deferred()
        self._moved = moved
        timer = self._platform.call_later(delay_s, self._wake)
        try:
            await moved
        finally:
            self._moved = None
            if timer.active():
                timer.cancel()
