"""The events that a decision about a draft needs: those that authorize it, and those that it refers to."""

from federation.room_dag.auth_rules.auth_state_keys import CREATE_PAIR, auth_state_keys
from federation.room_dag.event import Event
from federation.room_dag.room_versions import EventFormat
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.relation import find_relation
from federation.rooms.room_state import StatePair
from federation.rooms.stored_event import StoredEvent


class Reading:
    """One decision's look-ups: the room's own memory, the cache, and what was loaded for this decision."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._loaded: dict[str, StoredEvent | None] = {}

    def missing(self, room: LiveRoom, draft: Draft) -> set[str]:
        """IDs that are in no memory yet and were not looked for."""
        wanted = {
            event_id
            for pair in needed_pairs(room, draft)
            if (event_id := room.state.entries.get(pair)) is not None
        }
        if room.rules.event_format is EventFormat.ID_AND_HASH_PAIRS:
            wanted.update(head.event_id for head in room.heads)
        wanted.update(related_ids(draft))
        return {
            event_id
            for event_id in wanted
            if event_id not in self._loaded and self.find(room, event_id) is None
        }

    async def load(self, event_ids: set[str]) -> None:
        found = await self._events.get_many(event_ids)
        self._loaded.update((event_id, found.get(event_id)) for event_id in event_ids)

    def find(self, room: LiveRoom, event_id: str) -> Event | None:
        """An event of the room, committed or on its way."""
        event = room.auth_events.get(event_id)
        if event is not None:
            return event
        pending = room.pending.get(event_id)
        if pending is not None:
            return pending.event
        stored = self._find_stored(event_id)
        return None if stored is None else stored.event

    def find_thread(self, room: LiveRoom, event_id: str) -> str | None:
        """The root of the thread that an event of the room is in."""
        pending = room.pending.get(event_id)
        if pending is not None:
            return pending.change.thread
        stored = self._find_stored(event_id)
        return None if stored is None or stored.event.room_id != room.room_id else stored.thread

    def find_state(self, room: LiveRoom, pair: StatePair) -> Event | None:
        """The event of an entry of the room's state."""
        event_id = room.state.entries.get(pair)
        return None if event_id is None else self.find(room, event_id)

    def _find_stored(self, event_id: str) -> StoredEvent | None:
        return self._loaded.get(event_id) or self._events.find_cached(event_id)


def needed_pairs(room: LiveRoom, draft: Draft) -> set[StatePair]:
    """The entries of the state that decide about a draft, its own included."""
    pairs = set(auth_state_keys(room.rules, draft.type, draft.sender, draft.state_key, draft.content))
    pairs.add(CREATE_PAIR)
    if draft.state_key is not None:
        pairs.add((draft.type, draft.state_key))
    return pairs


def related_ids(draft: Draft) -> tuple[str, ...]:
    """Events that the draft refers to, whether they exist or not."""
    relation = None if draft.state_key is not None else find_relation(draft.content)
    ids = [] if relation is None else [relation.parent]
    if draft.redacts is not None:
        ids.append(draft.redacts)
    return tuple(ids)
