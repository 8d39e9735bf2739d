"""What an event changes in a room that may have other heads beside what it stands on. On database threads."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.event import Event
from federation.rooms.branch import Branch
from federation.rooms.live_room import RULES_PAIRS, LiveRoom, Placement, branch_after
from federation.rooms.resolving import Resolving
from federation.rooms.room_state import MEMBER, StatePair
from federation.rooms.transaction_lookup import TransactionLookup
from storage.database import Transaction


def place_own(tx: Transaction, resolving: Resolving, room: LiveRoom, event: Event) -> Placement:
    """Where an event of this server goes that stands on some of the room's heads. Raises `NotAllowed`."""
    lookup = resolving.lookup(tx)
    branches = [head.branch for head in room.heads if head.event_id in event.prev_events]
    before = resolving.branches.merge(room.room_id, room.rules, branches, lookup)
    check_against(event, before.entries, lookup)
    return placement_of(resolving, room, event, before, (), lookup)


def placement_of(
    resolving: Resolving,
    room: LiveRoom,
    event: Event,
    before: Branch,
    covered: Collection[str],
    lookup: TransactionLookup,
) -> Placement:
    """The placement of an allowed event. `covered` as in `Placement`."""
    branches = resolving.branches
    after, _ = branch_after(event, before, 0)
    if event.is_state:
        branches.derive(room.room_id, before.entries, after.entries, {event.state_pair: event.event_id})
    current = _current_after(resolving, room, event, after, covered, lookup)
    if before.entries is room.state.entries and current is after:
        changed = [event.state_pair] if event.is_state else []
    else:
        changed = branches.changed(room.room_id, room.state.entries, current.entries)
    return Placement(
        before,
        0,
        current,
        new_memberships(changed, event, current, lookup),
        rules_events(event, current, lookup),
        after=after,
        changed=changed,
        covered=frozenset(covered),
    )


def check_against(event: Event, entries: Mapping[StatePair, str], lookup: TransactionLookup) -> None:
    """Raise `NotAllowed` unless the rules allow the event in a state."""
    pairs = {
        *auth_state_keys(event.rules, event.type, event.sender, event.state_key, event.content),
        CREATE_PAIR,
    }
    lookup.prepare(entries[pair] for pair in pairs if pair in entries)

    def find(pair: StatePair) -> Event | None:
        event_id = entries.get(pair)
        return None if event_id is None else lookup.get(event_id)

    check_event_auth(event, find)


def _current_after(
    resolving: Resolving,
    room: LiveRoom,
    event: Event,
    after: Branch,
    covered: Container[str],
    lookup: TransactionLookup,
) -> Branch:
    rest: Sequence[Branch] = [
        head.branch
        for head in room.heads
        if head.event_id not in event.prev_events and head.event_id not in covered
    ]
    if not rest:
        return after
    lookup.add(event)
    return resolving.branches.merge(room.room_id, room.rules, [after, *rest], lookup, {event.event_id: event})


def new_memberships(
    changed: Iterable[StatePair], event: Event, current: Branch, lookup: TransactionLookup
) -> dict[str, str]:
    """Of the member events in force that were not before: event ID to membership."""
    wanted = {current.entries[pair] for pair in changed if pair[0] == MEMBER and pair in current.entries}
    lookup.add(event)
    lookup.prepare(wanted)
    return {event_id: lookup.get(event_id).membership or "leave" for event_id in wanted}


def rules_events(event: Event, current: Branch, lookup: TransactionLookup) -> dict[str, Event]:
    """The events that every check needs, by ID, but the event itself."""
    wanted = {current.entries[pair] for pair in RULES_PAIRS if pair in current.entries} - {event.event_id}
    lookup.prepare(wanted)
    return {event_id: lookup.get(event_id) for event_id in wanted}
