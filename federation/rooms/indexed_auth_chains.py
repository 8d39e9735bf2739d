"""Auth chains for state resolution out of the index in storage: as many queries as the index has levels."""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from federation.rooms.transaction_lookup import TransactionLookup
from storage.auth_chains import AuthChains, Link
from storage.event_numbers import EventNumbers

AT_ONCE = 900
"""Unconflicted events that are looked at together: nearly always the first ones answer for all."""


class IndexedAuthChains:
    """An `AuthChains` of state resolution, within one transaction.

    `unstored` are events that are not in the database yet, by ID: nothing that is stored names them.
    """

    def __init__(
        self,
        lookup: TransactionLookup,
        chains: AuthChains,
        numbers: EventNumbers,
        unstored: Mapping[str, Collection[str]],
    ) -> None:
        self._lookup = lookup
        self._chains = chains
        self._numbers = numbers
        self._unstored = unstored

    def difference(
        self, conflicted: Mapping[str, int], states: int, unconflicted: Callable[[], Iterable[str]]
    ) -> set[str]:
        everybody = (1 << states) - 1
        reached_by: dict[int, int] = {}
        found: dict[int, int] = {}
        numbers = self._numbers.find_numbers(self._lookup.tx, self._named(conflicted))
        for event_id, bits in conflicted.items():
            # What is stored stands on itself; what is not, on its auth events, which are in its chain.
            for auth_id in self._unstored.get(event_id, ()):
                if auth_id in numbers:
                    auth = numbers[auth_id]
                    found[auth] = found.get(auth, 0) | bits
                    reached_by[auth] = reached_by.get(auth, 0) | bits
            if event_id in numbers:
                reached_by[numbers[event_id]] = reached_by.get(numbers[event_id], 0) | bits
        reached = self._chains.reached(reached_by)
        for nid in _from_the_top(reached):
            link, bits = reached[nid], reached_by.get(nid, 0)
            for each in link.more:
                found[each] = found.get(each, 0) | bits
            if link.base is not None:
                found[link.base] = found.get(link.base, 0) | bits
                reached_by[link.base] = reached_by.get(link.base, 0) | bits
        difference = {nid for nid, bits in found.items() if bits != everybody}
        # Nearly always these are all: what took an entry's place in some states names what it had before.
        difference.difference_update(numbers[each] for each in conflicted if each in numbers)
        # What an unconflicted event depends on is in the chain of every state.
        rest, seen = iter(unconflicted()), set[int]()
        while difference and (some := list(islice(rest, AT_ONCE))):
            nids = self._numbers.find_numbers(self._lookup.tx, some).values()
            difference.difference_update(nids)
            self._remove_chains(difference, nids, seen)
        return self._ids(difference)

    def _remove_chains(self, difference: set[int], nids: Iterable[int], seen: set[int]) -> None:
        for nid, link in self._chains.reached(each for each in nids if each not in seen).items():
            if nid not in seen:
                seen.add(nid)
                difference.difference_update(link.more)
                if link.base is not None:
                    difference.discard(link.base)

    def subgraph(self, conflicted: Collection[str]) -> set[str]:
        nids = self._find_numbers(conflicted)
        chain = self._chain(conflicted)
        reached = self._chains.reached(chain)
        # An event stands on a conflicted one if that is in its own part of its chain, or if its base does.
        stands: dict[int, bool] = {}
        for nid in reversed(_from_the_top(reached)):
            link = reached[nid]
            stands[nid] = link.base is not None and (
                link.base in nids or stands[link.base] or not nids.isdisjoint(link.more)
            )
        return self._ids(nid for nid in chain if stands[nid]).union(conflicted)

    def within(self, event_ids: Collection[str], among: Collection[str]) -> set[str]:
        return self._ids(self._chain(event_ids) & self._find_numbers(among))

    def expect(self, event_ids: Collection[str]) -> None:
        self._lookup.prepare(event_ids)
        self._lookup.prepare({auth for each in event_ids for auth in self._lookup.get(each).auth_events})

    def _chain(self, event_ids: Collection[str]) -> set[int]:
        chain = self._chains.chain(self._find_numbers(event_ids))
        for event_id in event_ids:
            auth = self._find_numbers(self._unstored.get(event_id, ()))
            chain |= auth
            chain |= self._chains.chain(auth)
        return chain

    def _named(self, event_ids: Iterable[str]) -> set[str]:
        named = set(event_ids)
        for event_id in self._unstored.keys() & named:
            named.update(self._unstored[event_id])
        return named

    def _find_numbers(self, event_ids: Iterable[str]) -> set[int]:
        return set(self._numbers.find_numbers(self._lookup.tx, event_ids).values())

    def _ids(self, nids: Iterable[int]) -> set[str]:
        return set(self._numbers.find_ids(self._lookup.tx, nids).values())


def _from_the_top(links: Mapping[int, Link]) -> list[int]:
    """Each before its base."""
    return sorted(links, key=lambda nid: -links[nid].depth)
