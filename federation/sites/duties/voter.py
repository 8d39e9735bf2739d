"""Votes on leases: each site has one vote, and so has a witness.

A vote promises not to vote for another site until the lease's term is over, counted here from the moment of the vote.
It is on disk before it is told. After a start, what was promised before holds for a whole term; and a voter that
remembers nothing of a duty lets a term pass before it votes, for it may have promised what was lost with its disk.
"""

from collections.abc import Callable

from twisted.internet.defer import DeferredLock

from lazy_dataclasses.decorator import dataclass
from storage.committer import Committer
from storage.database import Database
from storage.duties import DutiesRepository, StoredVote, StoreVote


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A site wants a lease, or to go on having it."""

    duty: str
    epoch: int
    holder: str
    term_ms: int


@dataclass(frozen=True, slots=True)
class Vote:
    """`epoch` is the highest that the voter knows of: who wants a lease needs more than that."""

    is_granted: bool
    epoch: int


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
        log_id: str,
        term_ms: int,
        database: Database,
        committer: Committer,
        elapsed_s: Callable[[], float],
    ) -> None:
        """`elapsed_s` counts seconds since some moment, and is never set. It is made when the site starts."""
        self._log_id = log_id
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

    async def get_epoch(self, duty: str) -> int:
        """The highest that is known here."""
        return (await self._promise(duty)).epoch

    async def _vote(self, request: LeaseRequest) -> Vote:
        promise = await self._promise(request.duty)
        released = self._released.get((request.duty, request.holder), 0)
        if request.epoch <= released:
            # Of a site that was built anew: it does not know how often it asked before.
            return Vote(False, max(promise.epoch, released))
        is_same = request.holder == promise.holder
        if not is_same and self._elapsed_s() < promise.until_s:
            return Vote(False, promise.epoch)
        if request.epoch < promise.epoch or (request.epoch == promise.epoch and not is_same):
            return Vote(False, promise.epoch)
        if request.epoch > promise.epoch or request.term_ms > promise.term_ms:
            stored = StoredVote(self._log_id, request.epoch, request.holder, request.term_ms)
            await self._committer.commit(StoreVote(request.duty, stored))
        until_s = self._elapsed_s() + request.term_ms / 1000
        # A shorter term than before does not shorten what was promised before.
        until_s = max(until_s, promise.until_s) if is_same else until_s
        term_ms = max(request.term_ms, promise.term_ms) if request.epoch == promise.epoch else request.term_ms
        self._promises[request.duty] = _Promise(request.epoch, request.holder, term_ms, until_s)
        return Vote(True, request.epoch)

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
