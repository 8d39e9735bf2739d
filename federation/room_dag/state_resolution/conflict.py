"""Where the states to be resolved differ."""

from collections.abc import Iterator, Mapping, Sequence

import immutables

from federation.room_dag.state_resolution.interfaces import StateMap
from synapse_like_config.lazy_dataclasses import dataclass

Differences = Mapping[tuple[str, str], str | None]
"""The entries in which a state differs from another: what it has there, None if nothing."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Several states, seen as one of them and the entries in which they are not all equal.

    `base` is any one of the states, of which there are `count`. `candidates` has the event IDs of each conflicted
    entry, each with the states that have it: one bit per state.
    """

    base: StateMap
    candidates: Mapping[tuple[str, str], Mapping[str, int]]
    count: int

    @property
    def event_ids(self) -> frozenset[str]:
        """The conflicted state set."""
        return frozenset(event_id for holders in self.candidates.values() for event_id in holders)

    @property
    def holders(self) -> dict[str, int]:
        """The conflicted state set, with the states that have each event."""
        found: dict[str, int] = {}
        for candidates in self.candidates.values():
            for event_id, states in candidates.items():
                found[event_id] = found.get(event_id, 0) | states
        return found

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
    return conflict_of(base, base, [find_differences(base, other) for other in state_sets])


def find_differences(base: StateMap, other: StateMap) -> Differences:
    """The entries in which a state differs from another, with what it has instead."""
    return {} if other is base else {pair: other.get(pair) for pair in _differing_pairs(base, other)}


def conflict_of(base: StateMap, reference: StateMap, states: Sequence[Differences]) -> Conflict:
    """The conflict of states of which it is known how each differs from `reference`, which may be any state.

    `base` is one of the states.
    """
    everybody = (1 << len(states)) - 1
    held: dict[tuple[str, str], dict[str | None, int]] = {}
    for at, differences in enumerate(states):
        for pair, event_id in differences.items():
            holders = held.setdefault(pair, {})
            holders[event_id] = holders.get(event_id, 0) | 1 << at
    candidates: dict[tuple[str, str], dict[str, int]] = {}
    for pair, holders in held.items():
        others = everybody
        for bits in holders.values():
            others &= ~bits
        if others:
            event_id = reference.get(pair)
            holders[event_id] = holders.get(event_id, 0) | others
        # "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V)
        # belongs to the unconflicted state map. Otherwise, V belongs to the conflicted state set."
        if len(holders) > 1:
            candidates[pair] = {each: bits for each, bits in holders.items() if each is not None}
    return Conflict(base, candidates, len(states))


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
