"""Who votes, while the sites are becoming others: which sets of voters must be for whoever wants a duty.

Each site is told of a change by its own configuration, some sooner than others. So a set of voters takes the place of
another one by a lease: it is won with more than half of the old set *and* of the new one, and of every set that
somebody who voted has heard of. Whoever wins says "settled": nothing older counts any more. See
docs/decisions/site-voters.md for why no two sites can so win at the same time.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from synapse_like_config.lazy_dataclasses import dataclass

MAX_VOTERS = 100
MAX_SETS = 100

Voters = frozenset[str]


@dataclass(frozen=True, slots=True)
class VoterSets:
    """What a site knows. `settled` was agreed on by the lease with the number `epoch`; `pending` were asked for by
    later ones, of which it is not known whether they were won.
    """

    epoch: int
    settled: Voters
    pending: Mapping[Voters, int]

    @property
    def needed(self) -> frozenset[Voters]:
        """The sets of each of which more than half must be for a lease."""
        return frozenset((self.settled, *self.pending))

    @property
    def highest_epoch(self) -> int:
        return max((self.epoch, *self.pending.values()))

    def has_majorities(self, names: frozenset[str]) -> bool:
        return all(is_majority(names, voters) for voters in self.needed)

    def asked(self, voters: Voters, epoch: int) -> "VoterSets":
        """A vote was given to a lease under these voters."""
        if epoch <= self.epoch:
            return self
        return VoterSets(
            self.epoch, self.settled, {**self.pending, voters: max(epoch, self.pending.get(voters, 0))}
        )

    def won(self, voters: Voters, epoch: int) -> "VoterSets":
        """A lease under these voters was won, with more than half of all that was needed."""
        return self._later(epoch, voters, self.pending)

    def heard(self, other: "VoterSets") -> "VoterSets":
        """What another site knows counts too."""
        pending = dict(self.pending)
        for voters, epoch in other.pending.items():
            pending[voters] = max(epoch, pending.get(voters, 0))
        if other.epoch > self.epoch:
            return self._later(other.epoch, other.settled, pending)
        return self._later(self.epoch, self.settled, pending)

    def _later(self, epoch: int, settled: Voters, pending: Mapping[Voters, int]) -> "VoterSets":
        return VoterSets(epoch, settled, {voters: at for voters, at in pending.items() if at > epoch})

    def to_json(self) -> Mapping[str, Any]:
        return {
            "epoch": self.epoch,
            "settled": sorted(self.settled),
            "pending": [[at, sorted(voters)] for voters, at in self.pending.items()],
        }


def is_majority(names: frozenset[str], voters: Voters) -> bool:
    return len(names & voters) > len(voters) // 2


def parse_voters(value: Any) -> Voters:
    """Raises ValueError."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_VOTERS:
        raise ValueError("voters must be a list of names")
    if not all(isinstance(name, str) for name in value):
        raise ValueError("voters must be a list of names")
    return frozenset(value)


def parse_sets(value: Any) -> VoterSets:
    """Raises ValueError."""
    if not isinstance(value, dict) or not isinstance(value.get("pending"), list):
        raise ValueError("sets of voters are missing")
    if len(value["pending"]) > MAX_SETS:
        raise ValueError("there are too many sets of voters")
    pending = dict(_pairs(value["pending"]))
    return VoterSets(_epoch(value.get("epoch")), parse_voters(value.get("settled")), pending)


def _pairs(values: Iterable[Any]) -> Iterable[tuple[Voters, int]]:
    for pair in values:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("a set of voters must come with a number")
        yield parse_voters(pair[1]), _epoch(pair[0])


def _epoch(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a set of voters has no number")
    return value
