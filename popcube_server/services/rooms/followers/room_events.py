"""Entries of the log that are events of rooms."""

from collections.abc import Sequence

from federation.rooms.event_store import EventStore
from federation.rooms.stored_event import StoredEvent
from storage.change import LogEntry
from storage.events import StoreEvent

MEMBER = "m.room.member"


def is_event_of_type(entry: LogEntry, event_type: str) -> bool:
    """Whether an entry is such an event, or may be one: of an entry read from the database only the key is known."""
    change = entry.change
    if isinstance(change, StoreEvent):
        # History that was found later is no news.
        return change.type == event_type and change.ordering is None
    return entry.kind == StoreEvent.kind and change is None


async def get_events(entries: Sequence[LogEntry], event_type: str, events: EventStore) -> list[StoredEvent]:
    """The accepted events of a type among entries of kind `event`, in the order of the log."""
    event_ids = [entry.key[1] for entry in entries]
    found = await events.get_many(event_ids)
    stored = [found[event_id] for event_id in event_ids if event_id in found]
    return [
        one
        for one in stored
        if one.event.type == event_type and one.event.is_state and one.flags == 0 and not one.is_found_later
    ]
