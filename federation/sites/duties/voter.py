"""Votes on leases: each site has one vote, and so has a witness.

A vote promises not to vote for another site until the lease's term is over, counted here from the moment of the vote.
It is on disk before it is told. After a start, what was promised before holds for a whole term; and a voter that
remembers nothing of a duty lets a term pass before it votes, for it may have promised what was lost with its disk.
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import DeferredLock

from federation.sites.duties.known_voters import KnownVoters
from federation.sites.duties.voter_sets import Voters, VoterSets
from storage.committer import Committer
from storage.database import Database
from storage.duties import DutiesRepository, StoredVote, StoreVote
from synapse_like_config.lazy_dataclasses import dataclass

MIN_VOTERS: Final = 3
"""Of two, none is more than half."""


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A site wants a lease, or to go on having it."""

    duty: str
    epoch: int
    holder: str
    term_ms: int
    voters: Voters
    """Under whom it is wanted."""
    sets: VoterSets
    """What the site knows of who votes."""


@dataclass(frozen=True, slots=True)
class Vote:
    """`epoch` is the highest that the voter knows of: who wants a lease needs more than that."""

    is_granted: bool
    epoch: int
    sets: VoterSets | None = None
    """What the voter knows of who votes. None: it did not answer."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`may_vote`: the duty is not given by decision there."""

    may_vote: bool
    sets: VoterSets


@dataclass(slots=True)
class _Promise:
    """What this voter keeps to: until `until_s` nobody but `holder` (None: nobody) gets a vote."""

    epoch: int
    holder: str | None
    term_ms: int
    until_s: float


class Voter:
    """This site's votes."""

    def __init__(
        self,
        site: str,
        log_id: str,
        term_ms: int,
        known: KnownVoters,
        database: Database,
        committer: Committer,
        elapsed_s: Callable[[], float],
    ) -> None:
        """`elapsed_s` counts seconds since some moment, and is never set. It is made when the site starts."""
        self._site = site
        self._log_id = log_id
        self._known = known
        self._deciding: dict[str, bool] = {}
        self._term_ms = term_ms
        self._database = database
        self._committer = committer
        self._elapsed_s = elapsed_s
        self._started_s = elapsed_s()
        self._repository = DutiesRepository()
        self._promises: dict[str, _Promise] = {}
        self._released: dict[tuple[str, str], int] = {}
        """By duty and site: leases up to this epoch are of no use to it. It may say so before it is heard asking."""
        self._lock = DeferredLock()

    async def vote(self, request: LeaseRequest) -> Vote:
        """One at a time, as each depends on those before."""
        await self._lock.acquire()
        try:
            return await self._vote(request)
        finally:
            self._lock.release()

    async def release(self, duty: str, epoch: int, holder: str) -> None:
        """The holder has no use for a lease any more, and will never come back to it."""
        await self._lock.acquire()
        try:
            promise = await self._promise(duty)
            self._released[duty, holder] = max(epoch, self._released.get((duty, holder), 0))
            if (promise.epoch, promise.holder) == (epoch, holder):
                promise.until_s = self._elapsed_s()
        finally:
            self._lock.release()

    @property
    def wanted(self) -> Voters:
        """Who votes by the configuration."""
        return self._known.wanted

    def decides(self, duty: str, is_deciding: bool) -> None:
        """Whether the duty is given by decision here: while it is, no other site gets a vote."""
        self._deciding[duty] = is_deciding

    async def compare(self, duty: str, theirs: VoterSets) -> "Comparison":
        """Another site tells what it knows of who votes."""
        sets = await self.hear(duty, theirs)
        return Comparison(not self._is_deciding(duty, sets), sets)

    async def get_sets(self, duty: str) -> VoterSets:
        return await self._known.get(duty)

    async def hear(self, duty: str, theirs: VoterSets) -> VoterSets:
        """What is known then; on disk."""
        await self._lock.acquire()
        try:
            sets = (await self._known.get(duty)).heard(theirs)
            await self._known.keep(duty, sets)
            return sets
        finally:
            self._lock.release()

    async def settle(self, duty: str, voters: Voters, epoch: int) -> None:
        """A lease was won under these voters; or the operator says that they are those who count."""
        await self._lock.acquire()
        try:
            sets = await self._known.get(duty)
            await self._known.keep(duty, sets.won(voters, epoch))
        finally:
            self._lock.release()

    def _is_deciding(self, duty: str, sets: VoterSets) -> bool:
        by_default = len(self.wanted) < MIN_VOTERS and sets.needed == {self.wanted}
        return self._deciding.get(duty, by_default)

    async def get_epoch(self, duty: str) -> int:
        """The highest that is known here."""
        return max((await self._promise(duty)).epoch, (await self._known.get(duty)).highest_epoch)

    async def _vote(self, request: LeaseRequest) -> Vote:
        promise = await self._promise(request.duty)
        sets = (await self._known.get(request.duty)).heard(request.sets)
        await self._known.keep(request.duty, sets)
        if request.holder != self._site and self._is_deciding(request.duty, sets):
            return Vote(False, promise.epoch, sets)
        released = self._released.get((request.duty, request.holder), 0)
        if request.epoch <= released:
            # Of a site that was built anew: it does not know how often it asked before.
            return Vote(False, max(promise.epoch, released), sets)
        is_same = request.holder == promise.holder
        if not is_same and self._elapsed_s() < promise.until_s:
            return Vote(False, promise.epoch, sets)
        if request.epoch < promise.epoch or (request.epoch == promise.epoch and not is_same):
            return Vote(False, promise.epoch, sets)
        sets = sets.asked(request.voters, request.epoch)
        await self._known.keep(request.duty, sets)
        if request.epoch > promise.epoch or request.term_ms > promise.term_ms:
            stored = StoredVote(self._log_id, request.epoch, request.holder, request.term_ms)
            await self._committer.commit(StoreVote(request.duty, stored))
        until_s = self._elapsed_s() + request.term_ms / 1000
        # A shorter term than before does not shorten what was promised before.
        until_s = max(until_s, promise.until_s) if is_same else until_s
        term_ms = max(request.term_ms, promise.term_ms) if request.epoch == promise.epoch else request.term_ms
        self._promises[request.duty] = _Promise(request.epoch, request.holder, term_ms, until_s)
        return Vote(True, request.epoch, sets)

    async def _promise(self, duty: str) -> _Promise:
        promise = self._promises.get(duty)
        if promise is None:
            stored, epoch = await self._database.read(
                lambda tx: (
                    self._repository.find_vote(tx, duty),
                    self._repository.get_highest_epoch(tx, duty),
                )
            )
            if stored is None or stored.log != self._log_id:
                promise = _Promise(epoch, None, 0, self._started_s + self._term_ms / 1000)
            else:
                term_ms = max(stored.term_ms, self._term_ms)
                until_s = self._started_s + term_ms / 1000
                promise = _Promise(epoch, stored.holder, stored.term_ms, until_s)
            # Somebody else may have read it meanwhile.
            promise = self._promises.setdefault(duty, promise)
        return promise
