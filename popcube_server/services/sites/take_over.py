"""The operator decides: that this site has the duties, where two cannot vote; or who votes, where most are lost."""

from collections.abc import Sequence

from federation.sites.duties.voter import MIN_VOTERS, Voter
from popcube_server.services.errors import NotAllowed
from storage.committer import Committer
from storage.duties import Decision, TakeDutyOver
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A duty and the number of the decision."""

    duty: str
    epoch: int


class TakeOverDuties:
    def __init__(self, site: str, duties: Sequence[str], voter: Voter, committer: Committer) -> None:
        self._site = site
        self._duties = duties
        self._voter = voter
        self._committer = committer

    async def take_over(self, caller: str) -> Sequence[TakenOver]:
        """On disk when it returns; the work begins within seconds. Raises `NotAllowed`."""
        if caller != self._site:
            raise NotAllowed("A site's own operator decides that it takes over.")
        settled = [await self._forget_former_voters(duty) for duty in self._duties]
        if len(self._voter.wanted) >= MIN_VOTERS:
            if not any(settled):
                raise NotAllowed(
                    "The sites vote on who has a duty: more than half of them must be there. If most of them are lost "
                    "for good, take them out of `peers` first."
                )
            return [
                TakenOver(duty, epoch) for duty, epoch in zip(self._duties, settled, strict=True) if epoch
            ]
        committed = await self._committer.commit(*(TakeDutyOver(duty, self._site) for duty in self._duties))
        taken = []
        for duty, decision in zip(self._duties, committed.results, strict=True):
            assert isinstance(decision, Decision)
            taken.append(TakenOver(duty, decision.epoch))
        return taken

    async def _forget_former_voters(self, duty: str) -> int:
        """The number from which on only those of the configuration count; 0 if it is so already."""
        wanted, sets = self._voter.wanted, await self._voter.get_sets(duty)
        if sets.needed == {wanted}:
            return 0
        epoch = await self._voter.get_epoch(duty) + 1
        await self._voter.settle(duty, wanted, epoch)
        return epoch
