"""Make an event from elsewhere part of a room: the checks on receipt of a PDU that need the room.

Source: server-server API, "Checks performed on receipt of a PDU", from the auth events on, and "Soft failure". The
format, the signatures and the content hash were checked before; the events that it names were fetched before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Protocol

from immutables import Map

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR
from federation.room_dag.auth_rules.check_auth_events import check_auth_events
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.power_levels import POWER_LEVELS_PAIR, PowerLevels
from federation.room_dag.redaction import is_redaction_allowed
from federation.room_dag.room_versions import RoomRules
from federation.rooms.branch import NO_STATE, Branch, Snapshot
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import (
    Facts,
    LiveRoom,
    Placement,
    branch_after,
)
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.outcomes import PushOutcome, PushOutcomes
from federation.rooms.place_in_memory import place_in_memory
from federation.rooms.placing import (
    check_against,
    new_memberships,
    placement_of,
    rules_events,
)
from federation.rooms.policy.ask_policy_server import Checked
from federation.rooms.reading import Reading
from federation.rooms.relation import THREAD, find_relation
from federation.rooms.room_state import StatePair
from federation.rooms.send_event import PushRoom
from federation.rooms.stored_event import StoredEvent
from federation.rooms.transaction_lookup import TransactionLookup
from storage.change import Change
from storage.committer import Commits
from storage.database import Database, Transaction
from storage.events import OUTLIER, REJECTED, SOFT_FAILED
from storage.waiting_redactions import AwaitRedacted
from synapse_like_config.lazy_dataclasses import dataclass

MAX_COVERED = 500
"""Beyond, a head stays that is none any more: that costs a little work, and no more."""


class Verdict(Enum):
    """What became of an event."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft failed"
    REJECTED = "rejected"
    KNOWN = "known already"


class MissingEvents(Exception):
    """The event names others that this server does not have, or whose place in the room it does not know."""

    def __init__(self, prev_events: frozenset[str], auth_events: frozenset[str]) -> None:
        super().__init__(f"missing: {len(prev_events)} prev events, {len(auth_events)} auth events")
        self.prev_events = prev_events
        self.auth_events = auth_events


@dataclass(frozen=True, slots=True)
class _Plan:
    """The decision about an event, made from the database, to be applied while the room stands still."""

    placement: Placement
    verdict: Verdict
    redacts: str | None
    thread: str | None


_Decide = Callable[[Transaction, LiveRoom, Event], _Plan]


class PolicyCheck(Protocol):
    """`federation.rooms.policy.ask_policy_server.PolicyServers`."""

    async def check(self, event: Event) -> Checked: ...


class AcceptEvent:
    """The one way in which events made elsewhere get into rooms that this server takes part in."""

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        database: Database,
        committer: Commits,
        outcomes: PushOutcomes,
        policy: PolicyCheck,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._database = database
        self._committer = committer
        self._outcomes = outcomes
        self._policy = policy

    async def accept(self, event: Event) -> Verdict:
        """Decide about an event and store it; it is on disk when this returns.

        Raises `MissingEvents`, and then nothing was changed; `UnknownRoom`; `CommitFailed`.
        """
        checked = await self._policy.check(event)
        return await self._accept(checked, _deciding(self._decide, checked))

    async def accept_own(self, event: Event, sent_by: tuple[str, str] | None, *others: Change) -> Verdict:
        """As `accept`, for an event of this server that waited for somebody else's signature.

        `sent_by` is the device and transaction ID of the request; `others` are committed with the event.
        """
        checked = await self._policy.check(event)
        return await self._accept(checked, _deciding(self._decide, checked), others, sent_by)

    async def accept_at_gap(
        self, event: Event, states: Sequence[Mapping[StatePair, str]], *others: Change
    ) -> Verdict:
        """As `accept`, for an event of which prev events cannot be had: another server said what state was after them.

        The events of `states` are stored here and were not rejected. Prev events that are here have their say too.
        `others` are committed with the event.
        """
        given = [_given_branch(state) for state in states]
        checked = await self._policy.check(event)
        return await self._accept(checked, _deciding(self._decide, checked, given), others)

    async def accept_return(self, event: Event, state: Mapping[StatePair, str], *others: Change) -> Verdict:
        """As `accept_at_gap`, for the event with which this server comes back into a room that it had left.

        What this server knows of the room is old: the state is as given, and the event is the only head.
        """
        given = _given_branch(state)
        # What is known here of the room's policy server is as old as the rest, and who let us in has asked it.
        return await self._accept(
            Checked(event, True), lambda tx, room, event: self._decide_return(tx, event, given), others
        )

    async def _accept(
        self,
        checked: Checked,
        decide: _Decide,
        others: Sequence[Change] = (),
        sent_by: tuple[str, str] | None = None,
    ) -> Verdict:
        event = checked.event
        async with self._rooms.hold(event.room_id) as room:
            stored = await self._events.find(event.event_id)
            # What was fetched as an auth event, or as state, is not in the timeline yet.
            is_placed = stored is not None and (stored.flags & OUTLIER == 0 or stored.flags & REJECTED)
            if event.event_id in room.pending:
                # Nobody is told that it is here before it is on disk.
                await self._committer.commit(fence=room.fence)
                return Verdict.KNOWN
            if is_placed:
                return Verdict.KNOWN
            plan = self._plan_at_once(room, checked) if stored is None else None
            if plan is None:
                await self._settled(room)
                await self._outcomes.prepare(event.room_id, _invited(event))
                plan = await self._rooms.decide(event.room_id, lambda tx: decide(tx, room, event))
            if not checked.is_recommended and plan.verdict is Verdict.ACCEPTED:
                plan = _not_recommended(plan)
            if stored is not None:
                placement = replace(plan.placement, outlier_nid=stored.position)
                plan = replace(plan, placement=placement)
            outcome = PushOutcome(0)
            if plan.verdict is Verdict.ACCEPTED:
                outcome = self._outcomes.evaluate(event, PushRoom(room, Reading(self._events)))
            self._committer.check_not_busy()
            change = room.place(event, Facts(outcome, plan.redacts, plan.thread, sent_by), plan.placement)
            more = (*_waiting(event, plan), *self._rooms.resolving.unindexed.take(), *others)
            waiter = self._committer.submit((change, *more), room.fence)
        try:
            await waiter
            if plan.placement.current is None:
                # It is not among what the room knows to be on its way to the disk: what stands on it would not find it.
                await self._committer.commit(fence=room.fence)
        finally:
            self._rooms.drop_if_broken(room)
        return plan.verdict

    def _plan_at_once(self, room: LiveRoom, checked: Checked) -> _Plan | None:
        if not checked.is_settled or not checked.is_recommended:
            return None
        placement = place_in_memory(room, checked.event, self._find_accepted)
        return None if placement is None else _Plan(placement, Verdict.ACCEPTED, None, None)

    def _find_accepted(self, event_id: str) -> Event | None:
        stored = self._events.find_cached(event_id)
        return None if stored is None or stored.flags & REJECTED else stored.event

    async def _settled(self, room: LiveRoom) -> None:
        # The decision reads the database, which must know everything that the room's heads stand on.
        if room.pending:
            await self._committer.commit(fence=room.fence)

    def _decide(
        self, tx: Transaction, room: LiveRoom, event: Event, given: Sequence[Branch], is_settled: bool
    ) -> _Plan:
        lookup = self._rooms.resolving.lookup(tx)
        named = lookup.load({*event.prev_events, *event.auth_events})
        heads = {head.event_id: head.branch for head in room.heads}
        missing_prev = {
            event_id
            for event_id in event.prev_events
            if event_id not in heads and not _has_state(named.get(event_id))
        }
        missing_auth = {event_id for event_id in event.auth_events if event_id not in named}
        if missing_auth or (missing_prev and not given):
            raise MissingEvents(frozenset(missing_prev), frozenset(missing_auth))
        before = self._state_before(tx, room.rules, event, heads, named, lookup, given)
        now = room.current
        if given:
            # What happened in the gap is part of the room as it is now, although no head of ours has it.
            now = self._rooms.resolving.branches.merge(event.room_id, room.rules, [now, before], lookup)
        verdict = self._verdict(room, event, before, None if is_settled else now, named, lookup)
        if verdict is not Verdict.ACCEPTED:
            flags = REJECTED if verdict is Verdict.REJECTED else SOFT_FAILED
            return _Plan(Placement(before, flags, None, {}, {}), verdict, None, None)
        covered = _covered([named[prev] for prev in event.prev_events if prev in named], lookup)
        placement = placement_of(self._rooms.resolving, room, event, before, covered, lookup)
        return _Plan(placement, verdict, _redacts(event, before, lookup), _thread(event, lookup))

    def _decide_return(self, tx: Transaction, event: Event, given: Branch) -> _Plan:
        lookup = self._rooms.resolving.lookup(tx)
        check_against(event, given.entries, lookup)
        after, _ = branch_after(event, given, 0)
        placement = Placement(
            given,
            0,
            after,
            # All of them: what this server remembers of members is as old as the rest.
            new_memberships(after.entries, event, after, lookup),
            rules_events(event, after, lookup),
            is_only_head=True,
        )
        return _Plan(placement, Verdict.ACCEPTED, None, None)

    def _state_before(
        self,
        tx: Transaction,
        rules: RoomRules,
        event: Event,
        heads: Mapping[str, Branch],
        named: Mapping[str, StoredEvent],
        lookup: TransactionLookup,
        given: Sequence[Branch],
    ) -> Branch:
        nids = {
            event_id: nid
            for event_id in event.prev_events
            if event_id not in heads
            and event_id in named
            and (nid := named[event_id].snapshot_nid) is not None
            and named[event_id].event.room_id == event.room_id
        }
        stored = self._rooms.resolving.states.read(tx, set(nids.values()))
        branches = [
            heads[event_id] if event_id in heads else stored[nids[event_id]]
            for event_id in event.prev_events
            if event_id in heads or event_id in nids
        ]
        branches += given
        if not branches:
            return NO_STATE
        return self._rooms.resolving.branches.merge(event.room_id, rules, branches, lookup)

    def _verdict(
        self,
        room: LiveRoom,
        event: Event,
        before: Branch,
        now: Branch | None,
        named: Mapping[str, StoredEvent],
        lookup: TransactionLookup,
    ) -> Verdict:
        """Without the state of `now` nothing is soft failed."""
        if event.type == "m.room.create" or not event.prev_events:
            # A room begins once, and everything after stands on something.
            return Verdict.REJECTED
        if any(named[prev].event.room_id != event.room_id for prev in event.prev_events if prev in named):
            # What happened in another room says nothing about this one.
            return Verdict.REJECTED
        auth_events = {event_id: named[event_id].event for event_id in event.auth_events}
        by_pair = {auth.state_pair: auth for auth in auth_events.values() if auth.is_state}
        if not event.rules.room_create_in_auth_events:
            # From version 12 on the room's ID names the create event.
            by_pair[CREATE_PAIR] = lookup.get(room.state.entries[CREATE_PAIR])
        create = by_pair.get(CREATE_PAIR)
        if create is not None and create.event_id != room.state.entries[CREATE_PAIR]:
            # Before version 12 the server that made a room can sign any number of beginnings for it.
            return Verdict.REJECTED
        try:
            # 4. "Passes authorization rules based on the event's auth events, otherwise it is rejected."
            check_auth_events(event, auth_events, lookup.rejected)
            check_event_auth(event, by_pair.get)
            # 5. "Passes authorization rules based on the state before the event, otherwise it is rejected."
            check_against(event, before.entries, lookup)
        except NotAllowed:
            return Verdict.REJECTED
        if now is None:
            return Verdict.ACCEPTED
        try:
            # 6. "Passes authorization rules based on the current state of the room, otherwise it is 'soft failed'."
            check_against(event, now.entries, lookup)
        except NotAllowed:
            return Verdict.SOFT_FAILED
        return Verdict.ACCEPTED


def _deciding(
    decide: Callable[[Transaction, LiveRoom, Event, Sequence[Branch], bool], _Plan],
    checked: Checked,
    given: Sequence[Branch] = (),
) -> _Decide:
    return lambda tx, room, event: decide(tx, room, event, given, checked.is_settled)


def _not_recommended(plan: _Plan) -> _Plan:
    # 7. "... the policy server ... otherwise it is soft failed": it is allowed, and not to be shown.
    placement = replace(plan.placement, flags=SOFT_FAILED, current=None, memberships={}, rules_events={})
    return _Plan(placement, Verdict.SOFT_FAILED, None, None)


def _covered(prev_events: Sequence[StoredEvent], lookup: TransactionLookup) -> frozenset[str]:
    """What an event stands on by way of soft failed and rejected events, which took no head's place themselves."""
    covered: set[str] = set()
    level = list(prev_events)
    while level and len(covered) < MAX_COVERED:
        below = {
            prev
            for each in level
            if each.flags & (SOFT_FAILED | REJECTED) and not each.flags & OUTLIER
            for prev in each.event.prev_events
        }
        level = list(lookup.load(below - covered).values())
        covered |= below
    return frozenset(covered)


def _has_state(stored: StoredEvent | None) -> bool:
    return stored is not None and stored.snapshot_nid is not None


def _given_branch(state: Mapping[StatePair, str]) -> Branch:
    # Told as what differs from an empty state: no snapshot of this server has anything of it.
    return Branch(
        Map(state), Snapshot(None, None, tuple((*pair, event_id) for pair, event_id in state.items()))
    )


def _redacts(event: Event, before: Branch, lookup: TransactionLookup) -> str | None:
    if event.redacts is None:
        return None
    target = lookup.load((event.redacts,)).get(event.redacts)
    if target is None:
        return None
    levels_id = before.entries.get(POWER_LEVELS_PAIR)
    create = lookup.get(before.entries[CREATE_PAIR])
    levels = PowerLevels(create, None if levels_id is None else lookup.get(levels_id), event.rules)
    return event.redacts if is_redaction_allowed(event, target.event, levels) else None


def _waiting(event: Event, plan: _Plan) -> tuple[AwaitRedacted, ...]:
    """A redaction that redacted nothing: what it names may be history that is not here yet."""
    if event.redacts is None or "\x00" in event.redacts or plan.redacts is not None:
        return ()
    if plan.verdict is not Verdict.ACCEPTED:
        return ()
    return (AwaitRedacted(event.room_id, event.redacts, event.event_id),)


def _thread(event: Event, lookup: TransactionLookup) -> str | None:
    relation = None if event.is_state else find_relation(event.content)
    if relation is None or relation.rel_type == THREAD:
        return None if relation is None else relation.parent
    parent = lookup.load((relation.parent,)).get(relation.parent)
    return None if parent is None or parent.event.room_id != event.room_id else parent.thread


def _invited(event: Event) -> tuple[str, ...]:
    return (event.state_key,) if event.membership == "invite" and event.state_key is not None else ()
