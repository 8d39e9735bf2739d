"""Get from another server what is needed to place an event: its auth events, its ancestors, the state at a gap.

Everything that comes is checked like any PDU. Numbers are bounded: what is missing beyond them stays missing, and the
event stands on the state that the other server gives, each event of which is checked.
"""

from collections.abc import Iterable, Mapping

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.python.failure import Failure

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.auth_rules.check_event_auth import check_event_auth
from federation.room_dag.auth_rules.errors import NotAllowed
from federation.room_dag.event import Event
from federation.room_dag.room_versions import RoomRules
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.keep_outliers import KeepOutliers
from federation.rooms.receiving.remote import AskServers
from federation.rooms.room_state import StatePair
from federation.transport.errors import FederationError
from storage.events import OUTLIER, REJECTED

MAX_SINGLE_EVENTS = 50
"""If more events of a state are missing, the whole state is fetched at once."""
EVENTS_AT_ONCE = 5
MAX_ROUNDS = 4
"""Requests for missing events, each answered with at most `MAX_MISSING_EVENTS`."""


class StateUnavailable(Exception):
    """The other server did not give a state that can be used."""


class FetchMissing:
    """Fetches for one room at a time, from the server that sent what needs it."""

    def __init__(
        self,
        rooms: LiveRooms,
        events: EventStore,
        ask: AskServers,
        check: CheckPdus,
        keep: KeepOutliers,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._ask = ask
        self._check = check
        self._keep = keep

    async def is_past(self, event: Event) -> bool:
        """Whether an event without its ancestors is known as state, or as an auth event, of something that came before.

        Then it is no news, however late it comes: it belongs into a hole of the timeline, which is filled when somebody
        looks there.
        """
        stored = await self._events.find(event.event_id)
        return stored is not None and bool(stored.flags & OUTLIER)

    async def auth_events(self, origin: str, event: Event) -> None:
        """Fetch and store the auth chain of an event. Raises `FederationError`."""
        pdus = await self._ask.event_auth(origin, event.room_id, event.event_id)
        await self._keep.keep(await self._check.check_many(pdus, event.rules, event.room_id))

    async def ancestors(self, origin: str, event: Event) -> dict[str, Event]:
        """What lies between the room's heads and an event, as far as the other server tells; checked, not stored.

        Raises `FederationError`.
        """
        room = await self._rooms.get(event.room_id)
        earliest = [head.event_id for head in room.heads]
        found: dict[str, Event] = {}
        latest = [event.event_id]
        for _ in range(MAX_ROUNDS):
            # However deep the heads are: a short branch of who could not reach us for long may lie below them.
            pdus = await self._ask.missing_events(origin, event.room_id, earliest, latest, 0)
            checked = await self._check.check_many(pdus, event.rules, event.room_id)
            new = {event_id: each for event_id, each in checked.items() if event_id not in found}
            new.pop(event.event_id, None)
            if not new:
                break
            found.update(new)
            known = await self._events.get_many({prev for each in new.values() for prev in each.prev_events})
            latest = [
                each.event_id
                for each in new.values()
                if any(prev not in found and prev not in known for prev in each.prev_events)
            ][:20]
            if not latest:
                break
        head_depth = min((head.depth for head in room.heads), default=0)
        return await self._without_past(_ancestors_of(event, found), head_depth)

    async def _without_past(self, ancestors: Mapping[str, Event], head_depth: int) -> dict[str, Event]:
        """Other servers tell of what was before our join as well, down to the create event. What does not stand on
        events that have a place here is not wanted if it is here as state or as an auth event, or lies below all heads:
        that is history, which belongs into a hole, and is no news. `ancestors` are in order.
        """
        mentioned = {prev for event in ancestors.values() for prev in event.prev_events}
        stored = await self._events.get_many({*ancestors, *mentioned})
        placed = {event_id for event_id, each in stored.items() if not each.flags & OUTLIER}
        wanted: dict[str, Event] = {}
        for event_id, event in ancestors.items():
            stands_on = event.prev_events and all(
                prev in placed or prev in wanted for prev in event.prev_events
            )
            if stands_on or (event_id not in stored and event.depth >= head_depth):
                wanted[event_id] = event
        return wanted

    async def state_before(self, origin: str, event: Event) -> Mapping[StatePair, str]:
        """The state before an event as another server has it; its events are stored here now.

        Raises `StateUnavailable`, `FederationError`.
        """
        ids = await self._ask.state_ids(origin, event.room_id, event.event_id)
        wanted = {*ids.state, *ids.auth_chain}
        missing = wanted - (await self._events.get_many(wanted)).keys()
        if len(missing) > MAX_SINGLE_EVENTS:
            pdus = await self._ask.state(origin, event.room_id, event.event_id)
            fetched = await self._check.check_many(pdus, event.rules, event.room_id)
        else:
            fetched = await self._single_events(origin, event.rules, event.room_id, missing)
        await self._keep.keep({event_id: fetched[event_id] for event_id in missing if event_id in fetched})
        return await self._as_state(event.room_id, ids.state)

    async def find_state_after(
        self, origin: str, event: Event, event_id: str
    ) -> Mapping[StatePair, str] | None:
        """The state after a prev event of `event`, which is not here, as another server has it; None if it does not
        have the prev event. Raises `StateUnavailable`, `FederationError`.
        """
        fetched = await self._single_events(origin, event.rules, event.room_id, (event_id,))
        prev = fetched.get(event_id)
        if prev is None:
            return None
        state = await self.state_before(origin, prev)
        if len(await self._events.get_many(prev.auth_events)) < len(set(prev.auth_events)):
            await self.auth_events(origin, prev)
        await self._keep.keep({event_id: prev})
        if not prev.is_state or not await self._is_allowed(prev, state):
            return state
        return {**state, prev.state_pair: event_id}

    async def _is_allowed(self, event: Event, state: Mapping[StatePair, str]) -> bool:
        pairs = auth_state_keys(event.rules, event.type, event.sender, event.state_key, event.content)
        needed = [state[pair] for pair in (*pairs, CREATE_PAIR) if pair in state]
        stored = await self._events.get_many([*needed, event.event_id])
        own = stored.get(event.event_id)
        if own is None or own.flags & REJECTED:
            return False
        by_pair = {stored[each].event.state_pair: stored[each].event for each in needed if each in stored}
        try:
            check_event_auth(event, by_pair.get)
        except NotAllowed:
            return False
        return True

    async def _single_events(
        self, origin: str, rules: RoomRules, room_id: str, event_ids: Iterable[str]
    ) -> dict[str, Event]:
        pdus: list[object] = []
        turns = DeferredSemaphore(EVENTS_AT_ONCE)

        async def fetch(event_id: str) -> None:
            try:
                pdus.append(await self._ask.event(origin, event_id))
            except FederationError:
                # What is missing in the end is found when the state is put together.
                return

        def begin(event_id: str) -> "Deferred[None]":
            return Deferred.fromCoroutine(fetch(event_id))

        work = [turns.run(begin, event_id) for event_id in event_ids]
        for succeeded, outcome in await DeferredList(work, consumeErrors=True):
            failure: object = outcome
            if not succeeded and isinstance(failure, Failure):
                failure.raiseException()
        return await self._check.check_many(pdus, rules, room_id)

    async def _as_state(self, room_id: str, event_ids: Iterable[str]) -> Mapping[StatePair, str]:
        wanted = list(event_ids)
        stored = await self._events.get_many(wanted)
        state: dict[StatePair, str] = {}
        for event_id in wanted:
            found = stored.get(event_id)
            if found is None:
                raise StateUnavailable(f"the state of {room_id} lacks {event_id}")
            event = found.event
            if event.room_id != room_id or not event.is_state or event.state_pair in state:
                raise StateUnavailable(f"{event_id} has no place in the state of {room_id}")
            if not found.flags & REJECTED:
                state[event.state_pair] = event_id
        if CREATE_PAIR not in state:
            raise StateUnavailable(f"the state of {room_id} has no create event")
        if state[CREATE_PAIR] != (await self._rooms.get(room_id)).state.entries[CREATE_PAIR]:
            # Before version 12 the server that made a room can sign any number of beginnings for it.
            raise StateUnavailable(f"the state of {room_id} has another create event than the room")
        return state


def _ancestors_of(event: Event, found: Mapping[str, Event]) -> dict[str, Event]:
    """Those of the events that the event stands on, oldest first. A cycle (room versions 1 and 2) is cut."""
    order: dict[str, Event] = {}
    entered: set[str] = set()
    stack: list[tuple[str, bool]] = [(prev, False) for prev in event.prev_events]
    while stack:
        event_id, is_done = stack.pop()
        each = found.get(event_id)
        if each is None:
            continue
        if is_done:
            order[event_id] = each
        elif event_id not in entered:
            entered.add(event_id)
            stack.append((event_id, True))
            stack.extend((prev, False) for prev in each.prev_events)
    return order
