"""Writes down what a peer knows, now and then: what is lost in a crash is only told again."""

import logging
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from federation.sites.moments import Sleep
from storage.committer import CommitFailed, Committer
from storage.site_links import NotePeerKnows

logger = logging.getLogger(__name__)

NOTE_EVERY_S: Final = 1.0
"""A client that comes from the peer is told again what happened in about this time."""


class NoteMarks:
    """Of one peer. The first mark after a while is written at once, those that follow it once in `NOTE_EVERY_S`."""

    def __init__(self, committer: Committer, sleep: Sleep) -> None:
        self._committer = committer
        self._sleep = sleep
        self._newest: NotePeerKnows | None = None
        self._work: Deferred[None] | None = None

    def note(self, mark: NotePeerKnows) -> None:
        """Remember it, and go on: nobody waits for the disk."""
        self._newest = mark
        if self._work is None:
            work = self._work = Deferred.fromCoroutine(self._run())
            work.addErrback(self._ended)

    def stop(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.cancel()

    async def _run(self) -> None:
        while self._newest is not None:
            mark, self._newest = self._newest, None
            try:
                await self._committer.commit(mark)
            except CommitFailed as error:
                logger.warning("A mark of a peer was not written: %s", error)
            await self._sleep(NOTE_EVERY_S)
        self._work = None

    def _ended(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            logger.error("Marks of a peer are not written any more: %s", failure)
        self._work = None
