"""Stripped state: how a room shows itself to those who are invited or who knock.

Source: client-server API, "Stripped state".
"""

from collections.abc import Collection, Sequence

import orjson

from federation.room_dag.canonical_json import encode_lenient
from federation.rooms.event_store import EventStore
from federation.rooms.room_state import MEMBER, RoomState
from federation.rooms.stored_event import StoredEvent

# "The following state events should be represented as stripped state when possible", the create event first.
DEFAULT_TYPES = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


class RoomStrippedState:
    """Takes the stripped state out of the state of rooms that this server takes part in."""

    def __init__(
        self, events: EventStore, types: Sequence[str], additional: Collection[tuple[str, str | None]]
    ) -> None:
        self._events = events
        self._pairs = [(event_type, "") for event_type in types]
        self._pairs += [(event_type, key) for event_type, key in additional if key is not None]
        self._whole_types = frozenset(event_type for event_type, key in additional if key is None)

    async def of(self, state: RoomState, user_id: str) -> list[bytes]:
        """JSON of the entries, with the user's own membership last and that of who set it before."""
        entries = state.entries
        ids = [event_id for pair in self._pairs if (event_id := entries.get(pair)) is not None]
        if self._whole_types:
            ids += [event_id for pair, event_id in entries.items() if pair[0] in self._whole_types]
        own_id = entries.get((MEMBER, user_id))
        own = None if own_id is None else await self._events.find(own_id)
        if own is not None:
            inviter = entries.get((MEMBER, own.event.sender))
            ids += [event_id for event_id in (inviter, own.event.event_id) if event_id is not None]
        ids = list(dict.fromkeys(ids))
        events = await self._events.get_many(ids)
        return [strip(events[event_id]) for event_id in ids if event_id in events]


def strip(stored: StoredEvent) -> bytes:
    """An event with nothing but `sender`, `type`, `state_key` and `content`."""
    event = stored.event
    entry = {
        "content": event.content,
        "sender": event.sender,
        "state_key": event.state_key,
        "type": event.type,
    }
    try:
        return orjson.dumps(entry)
    except orjson.JSONEncodeError:
        # orjson refuses integers beyond 64 bits, which room versions 1 to 5 allow.
        return encode_lenient(entry)
