"""Messages of another server that follow each other at the end of a room: decided in memory, written together.

This is what nearly all events are. Everything else is `accept_event.py`'s. What is taken here is what that would accept
too, with the same result: the event stands on the room's only head, and the room's present state, which is the state
before it, gives the permission by the very events that the event names.
"""

from collections.abc import Sequence

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import Facts, LiveRoom
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.outcomes import PushOutcomes
from federation.rooms.policy.policy_server import POLICY_PAIR
from federation.rooms.reading import Reading
from federation.rooms.relation import THREAD, find_relation
from federation.rooms.room_state import StatePair
from federation.rooms.send_event import PushRoom
from storage.committer import Commits
from storage.events import StoreEvent


class AcceptRun:
    """Format, signatures and content hashes of the events were checked before."""

    def __init__(
        self, rooms: LiveRooms, events: EventStore, committer: Commits, outcomes: PushOutcomes
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._committer = committer
        self._outcomes = outcomes

    async def accept(self, room_id: str, events: Sequence[Event]) -> int:
        """How many of the first ones were taken; they are on disk. Of the others nothing was decided.

        Raises `UnknownRoom`; `CommitFailed`, and then none was taken.
        """
        reading = Reading(self._events)
        if not events or not await self._is_worth_a_look(room_id, events, reading):
            return 0
        room = await self._rooms.get_free(room_id)
        while not self._outcomes.is_prepared(room_id):
            await self._outcomes.prepare(room_id)
            room = await self._rooms.get_free(room_id)
        # From here to the submission nothing waits: the room cannot move under our feet.
        self._committer.check_not_busy()
        changes: list[StoreEvent] = []
        for event in events:
            if not _follows(room, event) or not _is_allowed(room, event, reading):
                break
            outcome = self._outcomes.evaluate(event, PushRoom(room, reading))
            changes.append(room.append(event, Facts(outcome, None, _thread(event))))
        if changes:
            try:
                await self._committer.submit(changes, room.fence)
            finally:
                self._rooms.drop_if_broken(room)
        return len(changes)

    async def _is_worth_a_look(self, room_id: str, events: Sequence[Event], reading: Reading) -> bool:
        """Read at once whether the events are here already, and what allows them."""
        room = await self._rooms.get_free(room_id)
        if not _follows(room, events[0]):
            return False
        wanted = {event.event_id for event in events}
        for event in events:
            wanted.update(
                event_id
                for pair in _pairs(room, event)
                if (event_id := room.state.entries.get(pair)) is not None
                and reading.find(room, event_id) is None
            )
        await reading.load(wanted)
        return True


def _follows(room: LiveRoom, event: Event) -> bool:
    """Whether it is a plain event at the very end of the room."""
    return (
        not event.is_state
        and event.redacts is None
        and len(room.heads) == 1
        and list(event.prev_events) == [room.heads[0].event_id]
        # It would have to be asked about the event.
        and POLICY_PAIR not in room.state.entries
    )


def _is_allowed(room: LiveRoom, event: Event, reading: Reading) -> bool:
    relation = find_relation(event.content)
    if relation is not None and relation.rel_type != THREAD:
        return False
    # It may be here without a place in the room: as an auth event, or soft failed.
    if event.event_id in room.pending or reading.find(room, event.event_id) is not None:
        return False
    keys = auth_state_keys(room.rules, event.type, event.sender, None, event.content)
    expected = [event_id for pair in keys if (event_id := room.state.entries.get(pair)) is not None]
    if sorted(event.auth_events) != sorted(expected):
        return False
    if any(
        pair in room.state.entries and reading.find_state(room, pair) is None for pair in _pairs(room, event)
    ):
        return False
    try:
        # Rules 4, 5 and 6 of "Checks performed on receipt of a PDU" are one: the events are the same.
        check_event_auth(event, lambda pair: reading.find_state(room, pair))
    except NotAllowed:
        return False
    return True


def _pairs(room: LiveRoom, event: Event) -> set[StatePair]:
    return {CREATE_PAIR, *auth_state_keys(room.rules, event.type, event.sender, None, event.content)}


def _thread(event: Event) -> str | None:
    relation = find_relation(event.content)
    return None if relation is None else relation.parent
