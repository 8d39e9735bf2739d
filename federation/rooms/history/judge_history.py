"""Decide about events of the past, oldest first: which are allowed, what the state is after each, what redacts what."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.auth_rules.check_auth_events import check_auth_events
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR, PowerLevels
from federation.room_dag.redaction import is_redaction_allowed
from federation.room_dag.room_versions import RoomRules
from federation.rooms.branch import NO_STATE, Branch, Snapshot
from federation.rooms.live_room import branch_after
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.relation import THREAD, find_relation
from federation.rooms.resolving import Resolving
from federation.rooms.room_state import StatePair
from federation.rooms.stored_event import StoredEvent
from federation.rooms.transaction_lookup import TransactionLookup
from storage.database import Transaction
from storage.events import REJECTED, NewState, StateChange
from storage.state_entries import StateEntriesRepository
from storage.waiting_redactions import WaitingRedactionsRepository
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """An event of the past and what was decided about it."""

    event: Event
    flags: int
    branch: Branch
    """The state after it."""
    new_state: NewState | None
    replaces: str | None
    redacts: str | None
    awaits: str | None
    """The event that it redacts, if that one is not here yet."""
    redacted_by: str | None
    thread: str | None


class JudgeHistory:
    """Works within one reading transaction, on a database thread."""

    def __init__(self, rooms: LiveRooms) -> None:
        self._resolving = rooms.resolving
        self._entries = StateEntriesRepository()
        self._waiting = WaitingRedactionsRepository()

    def judge(
        self,
        tx: Transaction,
        rules: RoomRules,
        children: Sequence[StoredEvent],
        here: Collection[str],
        page: Sequence[Event],
        states: Mapping[str, Mapping[StatePair, str]],
    ) -> list[Found]:
        """Those of the page that can be judged, in its order, which is oldest first.

        `children` stand above the page; `here` are the events with a place in the room; `states` are the states before
        the events of which prev events are missing. If there are none, the state is as before the only child.
        """
        lookup = self._resolving.lookup(tx)
        lookup.load({auth_id for event in page for auth_id in event.auth_events})
        # What is an outlier may have been rejected already.
        lookup.load(event.event_id for event in page)
        for event in page:
            lookup.add(event)
        branches = self._branches(lookup, children, here, page)
        base = branches[children[0].event.event_id]
        given = {event_id: _given(base, state) for event_id, state in states.items()}
        for event in find_bottoms(page, here):
            if event.event_id not in given:
                given[event.event_id] = _before(children[0], base)
        one_by_one = _OneByOne(self._resolving, rules, lookup, branches, given)
        judged = [found for event in page if (found := one_by_one.judge(event)) is not None]
        return self._with_redactions(rules, lookup, judged)

    def _branches(
        self,
        lookup: TransactionLookup,
        children: Sequence[StoredEvent],
        here: Collection[str],
        page: Sequence[Event],
    ) -> dict[str, Branch]:
        """The states after the first child and after what the page stands on."""
        named = {prev for event in page for prev in event.prev_events if prev in here}
        room_id = children[0].event.room_id
        nids = {
            event_id: each.snapshot_nid
            for event_id, each in lookup.load(named).items()
            # What happened in another room says nothing about this one.
            if each.event.room_id == room_id
        }
        nids[children[0].event.event_id] = children[0].snapshot_nid
        read = self._resolving.states.read(lookup.tx, {nid for nid in nids.values() if nid is not None})
        return {event_id: read[nid] for event_id, nid in nids.items() if nid is not None}

    def _with_redactions(
        self, rules: RoomRules, lookup: TransactionLookup, judged: Sequence[Found]
    ) -> list[Found]:
        """With what redacts these events and was here before them."""
        if not judged:
            return []
        tx, room_id = lookup.tx, judged[0].event.room_id
        by_id = {found.event.event_id: found for found in judged}
        in_page = {found.redacts for found in judged}
        rows = [
            (target, redaction)
            for target, redaction in self._waiting.get_of(tx, room_id, by_id)
            if target not in in_page
        ]
        known = lookup.load({redaction for _, redaction in rows})
        redactions = [
            (target, known[redaction])
            for target, redaction in rows
            if redaction in known and known[redaction].flags == 0
        ]
        nids = {stored.snapshot_nid for _, stored in redactions if stored.snapshot_nid is not None}
        states = self._entries.get_entries(tx, nids, (CREATE_PAIR, POWER_LEVELS_PAIR)) if nids else {}
        redacted: dict[str, str] = {}
        # The first one counts.
        for target, stored in sorted(redactions, key=lambda row: row[1].ordering):
            state = states.get(stored.snapshot_nid or 0, {})
            if _may_redact(rules, stored.event, by_id[target].event, state, lookup):
                redacted.setdefault(target, stored.event.event_id)
        return [
            found
            if found.event.event_id not in redacted
            else replace(found, redacted_by=redacted[found.event.event_id])
            for found in judged
        ]


def find_bottoms(page: Sequence[Event], here: Collection[str]) -> list[Event]:
    """Those of the events, given oldest first, that stand on something that is neither here nor before them."""
    known = set(here)
    bottoms = []
    for event in page:
        if any(prev not in known for prev in event.prev_events):
            bottoms.append(event)
        known.add(event.event_id)
    return bottoms


class _OneByOne:
    """Goes through a page; what it found of one event is what the next ones stand on."""

    def __init__(
        self,
        resolving: Resolving,
        rules: RoomRules,
        lookup: TransactionLookup,
        branches: dict[str, Branch],
        given: Mapping[str, Branch],
    ) -> None:
        """`branches` are states after events, `given` are states before events."""
        self._resolving = resolving
        self._rules = rules
        self._lookup = lookup
        self._branches = branches
        self._given = given
        self._threads: dict[str, str | None] = {}

    def judge(self, event: Event) -> Found | None:
        """None if what it stands on is not known: nothing can be said of it."""
        lookup = self._lookup
        before = self._before(event)
        auth_events = _find_all(lookup, event.auth_events)
        if before is None or len(auth_events) < len(set(event.auth_events)):
            return None
        is_allowed = event.event_id not in lookup.rejected and _is_allowed(event, auth_events, before, lookup)
        flags = 0 if is_allowed else REJECTED
        if not is_allowed:
            lookup.rejected.add(event.event_id)
        branch, new_state = branch_after(event, before, flags)
        self._branches[event.event_id] = branch
        replaces = before.entries.get(event.state_pair) if event.is_state else None
        redacts, awaits = self._redacts(event, before) if is_allowed else (None, None)
        self._threads[event.event_id] = thread = self._thread(event)
        return Found(event, flags, branch, new_state, replaces, redacts, awaits, None, thread)

    def _before(self, event: Event) -> Branch | None:
        parts = [self._branches[prev] for prev in event.prev_events if prev in self._branches]
        if event.event_id in self._given:
            parts.append(self._given[event.event_id])
        if not parts:
            return None if event.prev_events else NO_STATE
        return self._resolving.branches.merge(event.room_id, self._rules, parts, self._lookup)

    def _redacts(self, event: Event, before: Branch) -> tuple[str | None, str | None]:
        """What the event redacts, and what it would redact if that were here."""
        if event.redacts is None or "\x00" in event.redacts:
            return None, None
        target = _find_all(self._lookup, (event.redacts,)).get(event.redacts)
        if target is None:
            return None, event.redacts
        is_allowed = _may_redact(self._rules, event, target, before.entries, self._lookup)
        return (event.redacts if is_allowed else None), None

    def _thread(self, event: Event) -> str | None:
        relation = None if event.is_state else find_relation(event.content)
        if relation is None or relation.rel_type == THREAD:
            return None if relation is None else relation.parent
        if relation.parent in self._threads:
            return self._threads[relation.parent]
        parent = self._lookup.load((relation.parent,)).get(relation.parent)
        return None if parent is None or parent.event.room_id != event.room_id else parent.thread


def _find_all(lookup: TransactionLookup, event_ids: Iterable[str]) -> dict[str, Event]:
    """Those of the events that are stored, or of the page."""
    found = {}
    for event_id in event_ids:
        try:
            found[event_id] = lookup.get(event_id)
        except KeyError:
            continue
    return found


def _is_allowed(
    event: Event, auth_events: Mapping[str, Event], before: Branch, lookup: TransactionLookup
) -> bool:
    by_pair = {auth.state_pair: auth for auth in auth_events.values() if auth.is_state}
    if not event.rules.room_create_in_auth_events:
        # From version 12 on the room's ID names the create event.
        for create in _find_all(lookup, ("$" + event.room_id[1:],)).values():
            by_pair[CREATE_PAIR] = create
    pairs = auth_state_keys(event.rules, event.type, event.sender, event.state_key, event.content)
    state = {
        pair: lookup.get(before.entries[pair]) for pair in (*pairs, CREATE_PAIR) if pair in before.entries
    }
    if any(prev.room_id != event.room_id for prev in _find_all(lookup, event.prev_events).values()):
        return False
    try:
        # 4. "Passes authorization rules based on the event's auth events, otherwise it is rejected."
        check_auth_events(event, auth_events, lookup.rejected)
        check_event_auth(event, by_pair.get)
        # 5. "Passes authorization rules based on the state before the event, otherwise it is rejected."
        check_event_auth(event, state.get)
    except NotAllowed:
        return False
    return True


def _given(base: Branch, state: Mapping[StatePair, str]) -> Branch:
    """A state that another server told, described as what differs from one that is stored."""
    changes: list[StateChange] = [
        (*pair, event_id) for pair, event_id in state.items() if base.entries.get(pair) != event_id
    ]
    changes += [(*pair, None) for pair in base.entries if pair not in state]
    return _changed(base, changes)


def _before(stored: StoredEvent, after: Branch) -> Branch:
    """The state before an event, from the one after it."""
    event = stored.event
    if not event.is_state or stored.flags & REJECTED:
        return after
    return _changed(after, [(*event.state_pair, stored.replaces)])


def _changed(base: Branch, changes: Sequence[StateChange]) -> Branch:
    if not changes:
        return base
    entries = base.entries.mutate()
    for event_type, state_key, event_id in changes:
        if event_id is None:
            entries.pop((event_type, state_key), None)
        else:
            entries[event_type, state_key] = event_id
    return Branch(entries.finish(), Snapshot(base.snapshot.name, base.snapshot.nid, tuple(changes)))


def _may_redact(
    rules: RoomRules,
    redaction: Event,
    target: Event,
    state: Mapping[StatePair, str],
    lookup: TransactionLookup,
) -> bool:
    create_id, levels_id = state.get(CREATE_PAIR), state.get(POWER_LEVELS_PAIR)
    if create_id is None:
        return False
    levels = None if levels_id is None else lookup.get(levels_id)
    return is_redaction_allowed(redaction, target, PowerLevels(lookup.get(create_id), levels, rules))
