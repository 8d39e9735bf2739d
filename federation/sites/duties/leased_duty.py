"""A duty on which sites vote: whoever has the votes of more than half of them holds a lease for a while.

    STOPPED -> WAITING     by start()
    WAITING -> HOLDING     more than half voted for this site
    HOLDING -> HOLDING     they did again, under the same epoch, before the lease ran out
    HOLDING -> WAITING     it ran out
    any -> STOPPED         by stop()

Nobody's clock need be right, only about as quick as others': each counts durations. The holder counts from before it
asked, and ends after three quarters of the term; voters count the whole term from their vote. So clocks may differ in
speed by a quarter before two sites could hold a duty at the same time.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredList, gatherResults
from twisted.python.failure import Failure

from federation.sites.duties.duty import DutyWork
from federation.sites.duties.round import IsEnough, Round
from federation.sites.duties.voter import MIN_VOTERS, Comparison, LeaseRequest, Vote, Voter
from federation.sites.duties.voter_sets import Voters, VoterSets, is_majority
from federation.sites.duties.votes import AskVoter
from federation.sites.peer import PeerUnreachable
from storage.committer import CommitFailed
from storage.engines.engine import StorageError
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

HELD_PART: Final = 0.75
"""Of a term, how much the holder makes use of."""
FAREWELL_S: Final = 1.0


class DutyState(Enum):
    STOPPED = "stopped"
    WAITING = "waiting"
    HOLDING = "holding"


class Clock(Protocol):
    """Part of twisted's IReactorTime. Only its durations matter."""

    def callLater(self, delay_s: float, function: Any, /, *arguments: Any) -> Any: ...  # noqa: N802


@dataclass(frozen=True, slots=True)
class DutyTime:
    """`elapsed_s` counts seconds since some moment, and is never set. `random` gives a number from 0 up to 1."""

    clock: Clock
    elapsed_s: Callable[[], float]
    random: Callable[[], float]
    term_s: float


class LeaseHold:
    """`Hold` until a moment that is moved on by each renewal."""

    def __init__(self, epoch: int, until_s: float, elapsed_s: Callable[[], float]) -> None:
        self._epoch = epoch
        self.until_s = until_s
        self._elapsed_s = elapsed_s

    @property
    def epoch(self) -> int:
        return self._epoch

    def is_held(self) -> bool:
        return self._elapsed_s() < self.until_s


class LeasedDuty:
    """One duty of this site: wants it, and works while it has it."""

    def __init__(
        self,
        duty: str,
        site: str,
        own: Voter,
        peers: Mapping[str, AskVoter],
        time: DutyTime,
        work: DutyWork,
        settled: Callable[[], None],
    ) -> None:
        """`peers` are all other voters by the configuration, witnesses too. `settled()` is called when it was agreed
        who votes and there are so few that they do not vote any more.
        """
        self.duty = duty
        self._site = site
        self._own = own
        self._peers = peers
        self._time = time
        self._work = work
        self._settled = settled
        self._beat_s = time.term_s / 3
        self._hold: LeaseHold | None = None
        self._epoch = 0
        """The highest that was heard of."""
        self._deadline: Any = None
        self._voters: Voters = frozenset()
        self._rounds: list[Round] = []
        self._is_stopped = False
        self._running: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None

    @property
    def state(self) -> DutyState:
        if self._running is None:
            return DutyState.STOPPED
        return DutyState.WAITING if self._hold is None else DutyState.HOLDING

    @property
    def epoch(self) -> int:
        """Of the lease, or the highest that was heard of."""
        return self._epoch if self._hold is None else self._hold.epoch

    def start(self) -> None:
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._ended)

    async def stop(self) -> None:
        """The others need not wait for the lease to run out."""
        running, self._running = self._running, None
        if running is None:
            return
        self._is_stopped = True
        epoch = None if self._hold is None else self._hold.epoch
        self._lose()
        running.cancel()
        self._give_up_rounds()
        if epoch is not None:
            await self._release(epoch)

    def _ended(self, failure: Failure) -> None:
        if self._running is not None or failure.check(CancelledError) is None:
            logger.critical("The duty %s is not looked after any more: %s", self.duty, failure)

    async def _run(self) -> None:
        # What is cancelled may come to a good end all the same.
        while not self._is_stopped:
            try:
                if self._hold is None:
                    await self._try()
                else:
                    await self._renew(self._hold)
            except (StorageError, CommitFailed) as error:
                logger.error("This site cannot vote on the duty %s: %s", self.duty, error)
            # Sites that want the same at the same time come apart by chance.
            share = 1.0 if self._hold is not None else 0.5 + self._time.random()
            await self._sleep(self._beat_s * share)

    async def _sleep(self, delay_s: float) -> None:
        call: Any = None
        self._pause = Deferred(lambda _: call.cancel())
        call = self._time.clock.callLater(delay_s, self._pause.callback, None)
        await self._pause

    # Votes

    async def _try(self) -> None:
        voters = await self._choose_voters()
        if voters is None:
            return
        # Never twice the same: what was released is not given again.
        self._epoch = epoch = max(self._epoch, await self._own.get_epoch(self.duty)) + 1
        began_s = self._time.elapsed_s()
        vote = await self._vote_for_itself(epoch, voters)
        if not vote.is_granted or vote.sets is None:
            # Nobody else hears of this epoch: it is not on disk, and may be used again after a restart.
            return
        request = self._request(epoch, voters, vote.sets)
        if await self._ask_others(request, lambda names, heard: heard.has_majorities(names)):
            await self._own.settle(self.duty, voters, epoch)
            if len(voters) < MIN_VOTERS:
                await self._release(epoch)
                self._settled()
                return
            self._voters = voters
            hold = LeaseHold(epoch, began_s + HELD_PART * self._time.term_s, self._time.elapsed_s)
            if hold.is_held() and not self._is_stopped:
                self._gain(hold)
                return
        await self._release(epoch)

    async def _renew(self, hold: LeaseHold) -> None:
        began_s = self._time.elapsed_s()
        voters = self._voters
        vote = await self._vote_for_itself(hold.epoch, voters)
        if not vote.is_granted or vote.sets is None:
            return
        request = self._request(hold.epoch, voters, vote.sets)
        # What others asked for since the lease was won was not won: it needs more than half of these, too.
        won = await self._ask_others(request, lambda names, _: is_majority(names, voters))
        if won and self._hold is hold and hold.is_held():
            hold.until_s = began_s + HELD_PART * self._time.term_s
            self._watch(hold)

    async def _choose_voters(self) -> Voters | None:
        """Under whom to ask for a lease: those of the configuration as soon as enough of them are there, and else those
        that were agreed on before. None: this site is none of these.
        """
        wanted = self._own.wanted
        sets = await self._own.get_sets(self.duty)
        if sets.needed == {wanted}:
            return wanted
        there = frozenset((self._site,))
        for name, comparison in zip(self._peers, await self._compare(sets), strict=True):
            if comparison is not None:
                sets = await self._own.hear(self.duty, comparison.sets)
                there |= {name} if comparison.may_vote else frozenset()
        if sets.needed == {wanted} and len(wanted) < MIN_VOTERS:
            # Another site has seen to it.
            self._settled()
            return None
        if sets.has_majorities(there) and is_majority(there, wanted):
            return wanted
        return sets.settled if self._site in sets.settled else None

    async def _compare(self, sets: VoterSets) -> list[Comparison | None]:
        asking = [Deferred.fromCoroutine(self._ask_to_compare(peer, sets)) for peer in self._peers.values()]
        timer = self._time.clock.callLater(self._beat_s * HELD_PART, _cancel, asking)
        try:
            answers = await gatherResults(asking)
        finally:
            if timer.active():
                timer.cancel()
        return list(answers)

    async def _ask_to_compare(self, peer: AskVoter, sets: VoterSets) -> Comparison | None:
        try:
            return await peer.compare(self.duty, sets)
        except (PeerUnreachable, CancelledError):
            return None

    def _request(self, epoch: int, voters: Voters, sets: VoterSets) -> LeaseRequest:
        return LeaseRequest(self.duty, epoch, self._site, round(self._time.term_s * 1000), voters, sets)

    async def _vote_for_itself(self, epoch: int, voters: Voters) -> Vote:
        sets = await self._own.get_sets(self.duty)
        vote = await self._own.vote(self._request(epoch, voters, sets))
        self._epoch = max(self._epoch, vote.epoch)
        return vote

    async def _ask_others(self, request: LeaseRequest, is_enough: IsEnough) -> bool:
        """Whether enough voters are for this site, which is one of them."""
        voting = Round(self._peers, self._time.clock, self._beat_s * HELD_PART)
        self._rounds = [*self._rounds[-2:], voting]
        won = await voting.ask(request, is_enough)
        self._epoch = max(self._epoch, voting.highest_epoch)
        return won

    def _give_up_rounds(self) -> None:
        for voting in self._rounds:
            voting.give_up()

    async def _release(self, epoch: int) -> None:
        """Those who voted need not keep their promise."""
        await self._own.release(self.duty, epoch, self._site)
        telling = [Deferred.fromCoroutine(peer.release(self.duty, epoch)) for peer in self._peers.values()]
        for each in telling:
            each.addErrback(lambda failure: failure.trap(PeerUnreachable, CancelledError) and None)
        timer = self._time.clock.callLater(FAREWELL_S, _cancel, telling)
        await DeferredList(telling)
        if timer.active():
            timer.cancel()

    # The lease

    def _gain(self, hold: LeaseHold) -> None:
        logger.info("This site has the duty %s, epoch %d", self.duty, hold.epoch)
        self._hold = hold
        self._watch(hold)
        self._work.gained(hold)

    def _watch(self, hold: LeaseHold) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        left_s = max(0.0, hold.until_s - self._time.elapsed_s())
        self._deadline = self._time.clock.callLater(left_s, self._look, hold)

    def _look(self, hold: LeaseHold) -> None:
        if self._hold is not hold:
            return
        if hold.is_held():
            self._watch(hold)
            return
        logger.warning("This site has lost the duty %s: most voters do not answer", self.duty)
        self._lose()

    def _lose(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.until_s = float("-inf")
            self._work.lost()


def _cancel(waiting: Iterable["Deferred[Any]"]) -> None:
    for each in waiting:
        each.cancel()
