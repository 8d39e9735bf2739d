"""Begin to take part in a room that other servers made: its state as they gave it, and one event to go on from.

Everything given was checked before: signatures, auth chain, and that the event is allowed in the state.
"""

from collections.abc import Mapping, Sequence

from immutables import Map

from federation.room_dag.event import Event
from federation.room_dag.room_versions import RoomRules
from federation.rooms.branch import NO_STATE, Branch, Snapshot
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import RULES_PAIRS, Facts, LiveRoom, Placement
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.outcomes import PushOutcome
from federation.rooms.room_state import EMPTY_STATE, MEMBER, StatePair
from storage.change import Change
from storage.committer import Commits
from storage.events import OUTLIER, StoreEvent
from storage.rooms import AddRoom


class RoomTaken(Exception):
    """This server takes part in that room already."""


class TakeRoom:
    """Stores a room's state as events outside of the timeline, and the first event that stands in it."""

    def __init__(self, rooms: LiveRooms, events: EventStore, committer: Commits) -> None:
        self._rooms = rooms
        self._events = events
        self._committer = committer

    async def take(
        self,
        rules: RoomRules,
        event: Event,
        state: Mapping[StatePair, Event],
        auth_chain: Sequence[Event],
        *others: Change,
    ) -> None:
        """Make `event`, before which the room's state is `state`, the room's head; commit `others` with it.

        Raises `RoomTaken`.
        """
        try:
            await self._rooms.get(event.room_id)
        except UnknownRoom:
            pass
        else:
            raise RoomTaken(event.room_id)
        outliers = {
            each.event_id: each for each in (*auth_chain, *state.values()) if each.event_id != event.event_id
        }
        known = await self._events.get_many(outliers)
        changes: list[Change] = [AddRoom(event.room_id, rules.version)]
        changes.extend(_outlier(each) for event_id, each in outliers.items() if event_id not in known)
        self._committer.check_not_busy()
        room = LiveRoom(event.room_id, rules, (), NO_STATE, EMPTY_STATE)
        changes.append(room.place(event, Facts(PushOutcome(0), None, None), _placement(event, state)))
        changes.extend(others)
        self._rooms.add(room)
        waiter = self._committer.submit(changes, room.fence)
        try:
            await waiter
        finally:
            self._rooms.drop_if_broken(room)


def _placement(event: Event, state: Mapping[StatePair, Event]) -> Placement:
    entries = Map((pair, each.event_id) for pair, each in state.items())
    # Everything is new to this server: the state is told as what differs from an empty one.
    unsaved = tuple((*pair, each.event_id) for pair, each in state.items())
    before = Branch(entries, Snapshot(None, None, unsaved))
    after = entries.set(event.state_pair, event.event_id) if event.is_state else entries
    members = {each.event_id: each.membership or "leave" for pair, each in state.items() if pair[0] == MEMBER}
    if event.type == MEMBER:
        members[event.event_id] = event.membership or "leave"
    rules_events = {state[pair].event_id: state[pair] for pair in RULES_PAIRS if pair in state}
    return Placement(before, 0, Branch(after, Snapshot(event.event_id, None)), members, rules_events)


def _outlier(event: Event) -> StoreEvent:
    return StoreEvent(
        room_id=event.room_id,
        event_id=event.event_id,
        type=event.type,
        sender=event.sender,
        state_key=event.state_key,
        origin_server_ts=event.origin_server_ts,
        json=event.json,
        snapshot=None,
        flags=OUTLIER,
        auth_events=event.auth_events,
    )
