"""Merges branches of rooms: state resolution with everything that saves it from doing the same again.

Where states differ is found by comparing each of them once with one state of the room, and is remembered as long as the
state is in memory; results are remembered by what they were made of. For database threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from weakref import ref

from immutables import Map

from federation.room_dag.event import Event
from federation.room_dag.room_versions import RoomRules
from federation.room_dag.state_resolution.conflict import (
    Conflict,
    Differences,
    conflict_of,
    find_differences,
)
from federation.room_dag.state_resolution.interfaces import StateMap
from federation.room_dag.state_resolution.resolve import resolve_conflict
from federation.rooms.branch import Branch, Snapshot
from federation.rooms.indexed_auth_chains import IndexedAuthChains
from federation.rooms.room_state import StatePair, changed_pairs
from federation.rooms.transaction_lookup import TransactionLookup
from storage.auth_chains import AuthChains, LinkCache, Unindexed
from storage.event_numbers import EventNumbers

State = Map[StatePair, str]

MAX_ROOMS = 200
MAX_RESULTS = 200
MAX_DIFFERENCES = 2_000
"""States of one room of which it is remembered how they differ."""
FAR = 0.25
"""A state that differs in more than this part of its entries is no good measure for others."""


class MergeBranches:
    def __init__(self, numbers: EventNumbers, links: LinkCache, unindexed: Unindexed) -> None:
        self._numbers = numbers
        self._links = links
        self._unindexed = unindexed
        self._lock = threading.Lock()
        self._rooms: OrderedDict[str, _Differences] = OrderedDict()
        self._results: OrderedDict[frozenset[int], tuple[tuple[State, ...], State]] = OrderedDict()
        self.resolutions = 0
        self.repeats = 0

    def merge(
        self,
        room_id: str,
        rules: RoomRules,
        branches: Sequence[Branch],
        lookup: TransactionLookup,
        unstored: Mapping[str, Event] | None = None,
    ) -> Branch:
        """The resolution of several branches, described as the difference to the first.

        `unstored` are events of the branches that are not in the database yet.
        """
        distinct = _distinct(branches)
        first = distinct[0]
        if len(distinct) == 1:
            return first
        conflict = self._find_conflict(room_id, [branch.entries for branch in distinct])
        if not conflict.candidates:
            return first
        resolved = self._find_result(distinct)
        if resolved is None:
            resolved = self._resolve(rules, conflict, lookup, unstored or {})
            found = {pair: resolved.get(pair) for pair in conflict.candidates}
            self.derive(room_id, conflict.base, resolved, found)
            self._keep_result(distinct, resolved)
        changed = {(change[0], change[1]): change[2] for change in first.snapshot.unsaved}
        for pair in conflict.candidates:
            if resolved.get(pair) != first.entries.get(pair):
                changed[pair] = resolved.get(pair)
        unsaved = tuple((*pair, event_id) for pair, event_id in changed.items())
        return Branch(resolved, Snapshot(first.snapshot.name, first.snapshot.nid, unsaved))

    def derive(self, room_id: str, before: StateMap, after: State, changes: Differences) -> None:
        """Know how a state differs from others that came of a known one by some changes, without comparing them."""
        room = self._rooms.get(room_id)
        if room is not None:
            room.derive(before, after, changes)

    def changed(self, room_id: str, old: State, new: State) -> list[StatePair]:
        """The entries in which two states of a room differ."""
        if old is new:
            return []
        room = self._rooms.get(room_id)
        if room is None:
            return changed_pairs(old, new)
        # What neither has different from the measure is the same in both.
        pairs = room.of(old).keys() | room.of(new).keys()
        return [pair for pair in pairs if old.get(pair) != new.get(pair)]

    def _resolve(
        self,
        rules: RoomRules,
        conflict: Conflict,
        lookup: TransactionLookup,
        unstored: Mapping[str, Event],
    ) -> State:
        self.resolutions += 1
        lookup.prepare(conflict.holders)
        index = AuthChains(lookup.tx, self._links)
        auth = {event_id: event.auth_events for event_id, event in unstored.items()}
        chains = IndexedAuthChains(lookup, index, self._numbers, auth)
        resolved = resolve_conflict(rules, conflict, lookup, chains, lookup.rejected)
        self._unindexed.add(index.computed)
        return resolved if isinstance(resolved, Map) else Map(resolved)

    def _find_conflict(self, room_id: str, states: Sequence[State]) -> Conflict:
        room = self._rooms.get(room_id)
        if room is None or room.is_far(states[0]):
            room = _Differences(states[0])
        with self._lock:
            self._rooms[room_id] = room
            self._rooms.move_to_end(room_id)
            if len(self._rooms) > MAX_ROOMS:
                self._rooms.popitem(last=False)
        return conflict_of(states[0], room.reference, [room.of(state) for state in states])

    def _find_result(self, branches: Sequence[Branch]) -> State | None:
        key = _result_key(branches)
        with self._lock:
            found = self._results.get(key)
            if found is None:
                return None
            self.repeats += 1
            self._results.move_to_end(key)
        return found[1]

    def _keep_result(self, branches: Sequence[Branch], resolved: State) -> None:
        with self._lock:
            # The states are kept with the result: their identities stay theirs.
            states = tuple(branch.entries for branch in branches)
            self._results[_result_key(branches)] = (states, resolved)
            if len(self._results) > MAX_RESULTS:
                self._results.popitem(last=False)


class _Differences:
    """How states of one room differ from one of them."""

    def __init__(self, reference: State) -> None:
        self.reference = reference
        self._known: OrderedDict[int, tuple[ref[State], Differences]] = OrderedDict()

    def is_far(self, state: State) -> bool:
        return len(self.of(state)) > FAR * len(self.reference) + 20

    def of(self, state: State) -> Differences:
        known = self._known.get(id(state))
        if known is not None and known[0]() is state:
            return known[1]
        return self._keep(state, find_differences(self.reference, state))

    def derive(self, before: StateMap, after: State, changes: Differences) -> None:
        known = self._known.get(id(before))
        if known is None or known[0]() is not before or before is after:
            return
        differences = {**known[1], **changes}
        for pair in changes:
            if differences[pair] == self.reference.get(pair):
                del differences[pair]
        self._keep(after, differences)

    def _keep(self, state: State, differences: Differences) -> Differences:
        key = id(state)

        def forget(gone: ref[State]) -> None:
            if (known := self._known.get(key)) is not None and known[0] is gone:
                del self._known[key]

        self._known[key] = (ref(state, forget), differences)
        self._known.move_to_end(key)
        if len(self._known) > MAX_DIFFERENCES:
            self._known.popitem(last=False)
        return differences


def _distinct(branches: Sequence[Branch]) -> list[Branch]:
    distinct: dict[int, Branch] = {}
    for branch in branches:
        distinct.setdefault(id(branch.entries), branch)
    if len(distinct) < 2:
        return list(distinct.values())
    named: dict[object, Branch] = {}
    for branch in distinct.values():
        named.setdefault((branch.snapshot.name, branch.snapshot.unsaved), branch)
    return list(named.values())


def _result_key(branches: Sequence[Branch]) -> frozenset[int]:
    return frozenset(id(branch.entries) for branch in branches)
