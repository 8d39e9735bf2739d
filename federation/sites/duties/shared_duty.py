"""A duty of an organisation on several sites, while the sites become more and fewer: by vote where there are three
voters or more, and by decision where there are less.

    STOPPED -> LEASED, DECIDED   by start()
    LEASED <-> DECIDED           the sites are others, and those that voted before have agreed to it
    any -> STOPPED               by stop()
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from federation.sites.duties.decided_duty import DecidedDuty
from federation.sites.duties.leased_duty import DutyState, DutyTime, LeasedDuty
from federation.sites.duties.voter import MIN_VOTERS, Voter
from storage.committer import CommitFailed
from storage.engines.engine import StorageError

logger = logging.getLogger(__name__)

LOOKS_PER_TERM: Final = 3


class SharedDuty:
    """One duty of this site."""

    def __init__(
        self,
        duty: str,
        site: str,
        voter: Voter,
        make_leased: Callable[[Callable[[], None]], LeasedDuty],
        make_decided: Callable[[int], DecidedDuty],
        time: DutyTime,
    ) -> None:
        """`make_leased(settled)` and `make_decided(since)` make what works with the sites as they are now. What was
        decided under a number up to `since` is void: others voted since.
        """
        self.duty = duty
        self._site = site
        self._voter = voter
        self._make_leased = make_leased
        self._make_decided = make_decided
        self._time = time
        self._present: LeasedDuty | DecidedDuty | None = None
        self._are_others = False
        self._is_stopped = False
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._timer: Any = None

    @property
    def state(self) -> DutyState:
        return DutyState.STOPPED if self._present is None else self._present.state

    @property
    def epoch(self) -> int:
        return 0 if self._present is None else self._present.epoch

    def start(self) -> None:
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._ended)

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        self._is_stopped = True
        running.cancel()
        if self._present is not None:
            await self._present.stop()

    def peers_changed(self) -> None:
        """The sites are others."""
        self._are_others = True
        self._wake()

    def _ended(self, failure: Failure) -> None:
        if self._running is not None or failure.check(CancelledError) is None:
            logger.critical("The duty %s is not looked after any more: %s", self.duty, failure)

    async def _run(self) -> None:
        while not self._is_stopped:
            try:
                is_decided = await self._is_decided()
                if self._are_others or self._present is None or is_decided != self._has_decided:
                    await self._begin_again(is_decided)
            except (StorageError, CommitFailed) as error:
                logger.error("Who votes on the duty %s cannot be read: %s", self.duty, error)
            if not self._are_others:
                await self._sleep(self._time.term_s / LOOKS_PER_TERM)

    @property
    def _has_decided(self) -> bool:
        return isinstance(self._present, DecidedDuty)

    async def _is_decided(self) -> bool:
        """Whether the duty is given by decision."""
        wanted = self._voter.wanted
        sets = await self._voter.get_sets(self.duty)
        if len(wanted) >= MIN_VOTERS:
            return False
        if sets.needed == {wanted}:
            return True
        if any(len(voters) >= MIN_VOTERS for voters in sets.needed):
            # Those who voted may still do so: they must be for it.
            return False
        if any(self._site not in voters and not voters <= wanted for voters in sets.needed):
            # Others had the duty, who are none of these sites.
            return False
        # Nobody ever voted: what was decided stands.
        await self._voter.settle(self.duty, wanted, sets.highest_epoch)
        return True

    async def _begin_again(self, is_decided: bool) -> None:
        self._are_others = False
        before, self._present = self._present, None
        if before is not None:
            await before.stop()
        if self._is_stopped:
            return
        # Nobody gets a vote here while the duty may be held by decision.
        self._voter.decides(self.duty, is_decided)
        sets = await self._voter.get_sets(self.duty)
        self._present = self._make_decided(sets.epoch) if is_decided else self._make_leased(self._wake)
        self._present.start()

    async def _sleep(self, delay_s: float) -> None:
        self._pause = Deferred(lambda _: self._timer.cancel())
        self._timer = self._time.clock.callLater(delay_s, self._wake)
        await self._pause

    def _wake(self) -> None:
        pause, self._pause = self._pause, None
        if pause is not None:
            if self._timer.active():
                self._timer.cancel()
            pause.callback(None)
