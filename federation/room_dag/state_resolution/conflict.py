"""Where the states to be resolved differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import immutables

from federation.room_dag.state_resolution.interfaces import StateMap


@dataclass(frozen=True, slots=True)
class Conflict:
    """Several states, seen as one of them and the entries in which they are not all equal.

    `base` is any one of the states. `candidates` has the event IDs of each conflicted entry, `by_state` the
    conflicted event IDs of each state.
    """

    base: StateMap
    candidates: Mapping[tuple[str, str], frozenset[str]]
    by_state: Sequence[frozenset[str]]

    @property
    def event_ids(self) -> frozenset[str]:
        """The conflicted state set."""
        return frozenset().union(*self.by_state)

    def unconflicted(self, pair: tuple[str, str]) -> str | None:
        """The entry of the unconflicted state map."""
        return None if pair in self.candidates else self.base.get(pair)

    def unconflicted_ids(self) -> Iterator[str]:
        """The events of the unconflicted state map."""
        candidates = self.candidates
        return (event_id for pair, event_id in self.base.items() if pair not in candidates)

    def settle(self, resolved: StateMap) -> StateMap:
        """The unconflicted state map and, for entries that it does not have, the resolved ones."""
        # "Update the result by replacing any event with the event with the same key from the unconflicted
        # state map, if such an event exists"
        removed = self.candidates.keys() - resolved.keys()
        added = {pair: event_id for pair, event_id in resolved.items() if self.unconflicted(pair) is None}
        if isinstance(self.base, immutables.Map):
            with self.base.mutate() as changed:
                for pair in removed:
                    changed.pop(pair, None)
                changed.update(added)
                return changed.finish()
        state = dict(self.base)
        for pair in removed:
            state.pop(pair, None)
        state.update(added)
        return state


def find_conflict(state_sets: Sequence[StateMap]) -> Conflict:
    """Compare states; at least one is needed."""
    base = state_sets[0]
    pairs: set[tuple[str, str]] = set()
    for other in state_sets[1:]:
        if other is not base:
            pairs.update(_differing_pairs(base, other))
    # "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V)
    # belongs to the unconflicted state map. Otherwise, V belongs to the conflicted state set."
    candidates = {pair: frozenset(state[pair] for state in state_sets if pair in state) for pair in pairs}
    by_state = [frozenset(state[pair] for pair in pairs if pair in state) for state in state_sets]
    return Conflict(base, candidates, by_state)


def _differing_pairs(one: StateMap, other: StateMap) -> Iterator[tuple[str, str]]:
    find = one.get
    shared = 0
    for pair, event_id in other.items():
        mine = find(pair)
        if mine is not None:
            shared += 1
        if mine != event_id:
            yield pair
    if shared < len(one):
        yield from (pair for pair in one if pair not in other)
