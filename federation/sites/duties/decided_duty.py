"""A duty of two sites that are alone: they cannot vote, so one of them has it until the operator decides otherwise.

    STOPPED -> ASKING        by start(): has the other site heard of a decision?
    ASKING -> HOLDING, STANDING_BY    it answered, or did not for a whole term
    STANDING_BY -> HOLDING   the operator decided for this site
    HOLDING -> STANDING_BY   for the other one, which told of it
    any -> STOPPED           by stop()

Decisions are numbered, and the highest number counts. A site that comes back asks the other one before it goes on; if
that does not answer, it goes on as it last knew: without a decision against it, nobody else may have the duty.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from federation.sites.duties.duty import DutyWork
from federation.sites.duties.leased_duty import DutyState, DutyTime
from federation.sites.duties.votes import AskVoter
from federation.sites.peer import PeerUnreachable
from storage.committer import CommitFailed, Committer
from storage.database import Database
from storage.duties import Decision, DutiesRepository, StoreDecision
from storage.engines.engine import StorageError

logger = logging.getLogger(__name__)


class Decisions:
    """The newest decision on each duty that is known here."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer
        self._repository = DutiesRepository()
        self._known: dict[str, Decision] = {}
        self._followers: dict[str, Callable[[Decision], None]] = {}

    def follow(self, duty: str, callback: Callable[[Decision], None]) -> None:
        """Hear of newer decisions on a duty, before anybody is told of them."""
        self._followers[duty] = callback

    async def get(self, duty: str) -> Decision | None:
        """What the database knows too: the operator decides there."""
        stored = await self._database.read(lambda tx: self._repository.find_decision(tx, duty))
        if stored is not None:
            self._note(duty, stored)
        return self._known.get(duty)

    async def highest_epoch(self, duty: str) -> int:
        """Of all that was ever known here of a duty, leases too: what is decided next has a higher one."""
        return await self._database.read(lambda tx: self._repository.get_highest_epoch(tx, duty))

    async def learn(self, duty: str, decision: Decision | None) -> Decision | None:
        """Somebody knows of a decision; the newest that is known now, on disk when this returns."""
        known = await self.get(duty)
        if decision is not None and (known is None or known < decision):
            self._note(duty, decision)
            await self._committer.commit(StoreDecision(duty, decision))
        return self._known.get(duty)

    def _note(self, duty: str, decision: Decision) -> None:
        known = self._known.get(duty)
        if known is None or known < decision:
            self._known[duty] = decision
            if duty in self._followers:
                self._followers[duty](decision)


class DecidedHold:
    """`Hold` until it is ended."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._is_held = True

    @property
    def epoch(self) -> int:
        return self._epoch

    def is_held(self) -> bool:
        return self._is_held

    def end(self) -> None:
        self._is_held = False


class DecidedDuty:
    """One duty of this site."""

    def __init__(
        self,
        duty: str,
        site: str,
        log_id: str,
        preferred: str,
        sites: Collection[str],
        since: int,
        decisions: Decisions,
        peers: Mapping[str, AskVoter],
        time: DutyTime,
        work: DutyWork,
    ) -> None:
        """`preferred` is the site that has the duty as long as nothing was decided, or for a site that is none of
        `sites` any more. Decisions count whose number is higher than `since`.
        """
        self.duty = duty
        self._site = site
        self._log_id = log_id
        self._preferred = preferred
        self._sites = frozenset(sites)
        self._since = since
        self._decisions = decisions
        self._peers = peers
        self._time = time
        self._work = work
        self._hold: DecidedHold | None = None
        self._epoch = 0
        self._has_heard = False
        self._is_stopped = False
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        decisions.follow(duty, self._hear)

    @property
    def state(self) -> DutyState:
        if self._running is None:
            return DutyState.STOPPED
        return DutyState.WAITING if self._hold is None else DutyState.HOLDING

    @property
    def epoch(self) -> int:
        """Of the newest decision that is known here."""
        return self._epoch

    def start(self) -> None:
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._ended)

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._is_stopped = True
            self._lose()
            running.cancel()

    def _ended(self, failure: Failure) -> None:
        if self._running is not None or failure.check(CancelledError) is None:
            logger.critical("The duty %s is not looked after any more: %s", self.duty, failure)

    async def _run(self) -> None:
        began_s = self._time.elapsed_s()
        while not self._is_stopped:
            try:
                decision = await self._decisions.get(self.duty)
                for name, peer in self._peers.items():
                    decision = await self._ask(name, peer, decision)
                if not self._has_heard and self._time.elapsed_s() - began_s >= self._time.term_s:
                    logger.warning(
                        "No other site answers; as far as this one knows, the duty %s is %s's",
                        self.duty,
                        self._holder(decision),
                    )
                    self._has_heard = True
                if self._has_heard:
                    await self._settle(decision)
            except (StorageError, CommitFailed) as error:
                logger.error("What was decided about the duty %s cannot be read: %s", self.duty, error)
            await self._sleep(self._time.term_s / 3)

    async def _sleep(self, delay_s: float) -> None:
        call: Any = None
        self._pause = Deferred(lambda _: call.cancel())
        call = self._time.clock.callLater(delay_s, self._pause.callback, None)
        await self._pause

    async def _ask(self, name: str, peer: AskVoter, decision: Decision | None) -> Decision | None:
        asking = Deferred.fromCoroutine(peer.tell_decision(self.duty, decision))
        timer = self._time.clock.callLater(self._time.term_s / 4, asking.cancel)
        try:
            theirs = await asking
        except (PeerUnreachable, CancelledError):
            if self._is_stopped:
                raise
            return decision
        finally:
            if timer.active():
                timer.cancel()
        self._has_heard = True
        return await self._decisions.learn(self.duty, theirs)

    async def _settle(self, decision: Decision | None) -> None:
        if self._holder(decision) != self._site:
            return
        highest = await self._decisions.highest_epoch(self.duty)
        if decision is None or decision.log not in ("", self._log_id) or decision.epoch < highest:
            # A site that was rebuilt counts anew what it sends: under a number of its own. And whoever had a lease
            # since, when there were more sites, had it under a later number.
            epoch = max(0 if decision is None else decision.epoch, highest) + 1
            decision = await self._decisions.learn(self.duty, Decision(epoch, self._site, self._log_id))
        elif not decision.log:
            noted = Decision(decision.epoch, self._site, self._log_id)
            decision = await self._decisions.learn(self.duty, noted)
        if decision is not None and decision.holder == self._site:
            self._gain(decision.epoch)

    def _holder(self, decision: Decision | None) -> str:
        if decision is None or decision.epoch <= self._since or decision.holder not in self._sites:
            return self._preferred
        return decision.holder

    def _hear(self, decision: Decision) -> None:
        self._epoch = decision.epoch
        if self._hold is not None and (decision.holder != self._site or decision.epoch != self._hold.epoch):
            logger.warning("Site %s has the duty %s now: this one stops", decision.holder, self.duty)
            self._lose()

    def _gain(self, epoch: int) -> None:
        if self._hold is None and not self._is_stopped:
            logger.info("This site has the duty %s, decision %d", self.duty, epoch)
            self._epoch = epoch
            self._hold = DecidedHold(epoch)
            self._work.gained(self._hold)

    def _lose(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.end()
            self._work.lost()
