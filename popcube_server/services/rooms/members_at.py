"""Member events of some users as they were at a place of the timeline: what lazy loading sends along."""

from collections.abc import Iterable

from federation.rooms.event_store import EventStore
from federation.rooms.room_state import MEMBER
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.rooms.state_at import StatesAt

MAX_STEPS = 50


class MembersAt:
    """Follows each user's member events backwards from the present: most did not change since."""

    def __init__(self, states: StatesAt, events: EventStore) -> None:
        self._states = states
        self._events = events

    async def of(self, room_id: str, users: Iterable[str], newest: StoredEvent) -> list[StoredEvent]:
        """Those that there were at an event, in the order of the users."""
        ordering = newest.ordering
        if newest.is_found_later:
            # What changed in a part of the timeline that is still missing is not known: only the state there is.
            then = await self._states.at(room_id, ordering)
            event_ids = [event_id for user in users if (event_id := then.get((MEMBER, user))) is not None]
            there = await self._events.get_many(event_ids)
            return [there[event_id] for event_id in event_ids if event_id in there]
        entries = await self._states.now(room_id)
        wanted = {user: event_id for user in users if (event_id := entries.get((MEMBER, user))) is not None}
        order = tuple(wanted)
        found: dict[str, StoredEvent] = {}
        for _ in range(MAX_STEPS):
            if not wanted:
                break
            events = await self._events.get_many(wanted.values())
            later: dict[str, str] = {}
            for user, event_id in wanted.items():
                stored = events.get(event_id)
                if stored is None:
                    continue
                if stored.ordering <= ordering:
                    found[user] = stored
                elif stored.replaces is not None:
                    later[user] = stored.replaces
            wanted = later
        return [found[user] for user in order if user in found]
