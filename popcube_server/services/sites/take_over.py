"""The operator decides that this site has the duties from now on: for two sites, which cannot vote."""

from collections.abc import Sequence

from lazy_dataclasses.decorator import dataclass
from popcube_server.services.errors import NotAllowed
from storage.committer import Committer
from storage.duties import Decision, TakeDutyOver


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A duty and the number of the decision."""

    duty: str
    epoch: int


class TakeOverDuties:
    def __init__(self, site: str, duties: Sequence[str], can_vote: bool, committer: Committer) -> None:
        self._site = site
        self._duties = duties
        self._can_vote = can_vote
        self._committer = committer

    async def take_over(self, caller: str) -> Sequence[TakenOver]:
        """On disk when it returns; the work begins within seconds. Raises `NotAllowed`."""
        if caller != self._site:
            raise NotAllowed("A site's own operator decides that it takes over.")
        if self._can_vote:
            raise NotAllowed("The sites vote on who has a duty: more than half of them must be there.")
        committed = await self._committer.commit(*(TakeDutyOver(duty, self._site) for duty in self._duties))
        taken = []
        for duty, decision in zip(self._duties, committed.results, strict=True):
            assert isinstance(decision, Decision)
            taken.append(TakenOver(duty, decision.epoch))
        return taken
