"""The graph of a room as other servers ask for it: states at events, auth chains, ancestors."""

from collections.abc import Collection, Iterable, Sequence

from federation.room_dag.event import Event
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms
from federation.rooms.room_state import StatePair
from federation.rooms.stored_event import StoredEvent
from storage.database import Database
from storage.events import OUTLIER, REJECTED


class ReadGraph:
    """Reads on database threads; nothing is kept."""

    def __init__(self, database: Database, rooms: LiveRooms, events: EventStore) -> None:
        self._database = database
        self._rooms = rooms
        self._events = events

    async def states_after(self, events: Iterable[StoredEvent]) -> dict[str, dict[StatePair, str]]:
        """The state after each event, by its ID; without those whose state is not known here."""
        nids = {each.event.event_id: each.snapshot_nid for each in events if each.snapshot_nid is not None}
        branches = await self._database.read(
            lambda tx: self._rooms.resolving.states.read(tx, set(nids.values()))
        )
        return {event_id: dict(branches[nid].entries) for event_id, nid in nids.items() if nid in branches}

    async def state_before(self, stored: StoredEvent) -> dict[StatePair, str] | None:
        """The state before an event; None if it is not known here."""
        state = (await self.states_after((stored,))).get(stored.event.event_id)
        if state is not None and stored.event.is_state and not stored.flags & REJECTED:
            del state[stored.event.state_pair]
            if stored.replaces is not None:
                state[stored.event.state_pair] = stored.replaces
        return state

    async def events_of(self, event_ids: Iterable[str]) -> list[Event]:
        """Those that are here."""
        return [stored.event for stored in (await self._events.get_many(event_ids)).values()]

    async def auth_chain(self, event_ids: Collection[str]) -> list[Event]:
        """All events that these stand on by auth events, the create event always among them."""
        wanted = await self._events.get_many(event_ids)
        chain = await self._database.read(lambda tx: self._rooms.resolving.auth_chain(tx, event_ids))
        # From version 12 on the room's ID names the create event.
        chain |= {
            "$" + stored.event.room_id[1:]
            for stored in wanted.values()
            if not stored.event.rules.room_create_in_auth_events and stored.event.type != "m.room.create"
        }
        return await self.events_of(chain)

    async def ancestors(
        self, room_id: str, start: Sequence[str], stop: Collection[str], min_depth: int, limit: int
    ) -> list[StoredEvent]:
        """At most `limit` events: `start` and what lies before it, without `stop`; nearest first.

        Outliers and events of other rooms are not part of the graph. What was rejected is: others judge by themselves,
        and without it do not know how what is before it hangs together.
        """
        await self._events.read_ahead(room_id, start, limit)
        found: dict[str, StoredEvent] = {}
        seen = set(stop)
        level = [event_id for event_id in dict.fromkeys(start) if event_id not in seen]
        while level and len(found) < limit:
            seen.update(level)
            stored = await self._events.get_many(level)
            below: dict[str, None] = {}
            for event_id in level:
                each = stored.get(event_id)
                if each is None or each.event.room_id != room_id or each.flags & OUTLIER:
                    continue
                if each.event.depth < min_depth or len(found) == limit:
                    continue
                found[event_id] = each
                below.update((prev, None) for prev in each.event.prev_events if prev not in seen)
            level = list(below)
        return list(found.values())
