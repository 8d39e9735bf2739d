"""What this site knows of who votes on its duties, on disk before anybody is told."""

from collections.abc import Callable

from federation.sites.duties.voter_sets import Voters, VoterSets
from storage.committer import Committer
from storage.database import Database
from storage.duty_voters import DutyVotersRepository, StoredVoters, StoreVoters


class KnownVoters:
    """By duty. Whoever changes something holds the voter's lock."""

    def __init__(self, get_wanted: Callable[[], Voters], database: Database, committer: Committer) -> None:
        """`get_wanted` says who votes by the configuration, as it is now."""
        self._get_wanted = get_wanted
        self._first = get_wanted()
        self._database = database
        self._committer = committer
        self._repository = DutyVotersRepository()
        self._known: dict[str, VoterSets] = {}

    @property
    def wanted(self) -> Voters:
        return self._get_wanted()

    async def get(self, duty: str) -> VoterSets:
        """A site that knows nothing believes the configuration with which it was started, from then on."""
        known = self._known.get(duty)
        if known is not None:
            return known
        stored = await self._database.read(lambda tx: self._repository.get(tx, duty))
        settled = [each for each in stored if each.is_settled]
        pending = {frozenset(each.voters): each.epoch for each in stored if not each.is_settled}
        if settled:
            return self._known.setdefault(
                duty, VoterSets(settled[0].epoch, frozenset(settled[0].voters), pending)
            )
        await self.keep(duty, VoterSets(0, self._first, {}))
        return self._known[duty]

    async def keep(self, duty: str, sets: VoterSets) -> None:
        """On disk when it returns. Raises `CommitFailed`."""
        if self._known.get(duty) == sets:
            return
        rows = [StoredVoters(tuple(sorted(sets.settled)), sets.epoch, True)]
        rows += [StoredVoters(tuple(sorted(voters)), at, False) for voters, at in sets.pending.items()]
        await self._committer.commit(StoreVoters(duty, tuple(rows)))
        self._known[duty] = sets
