"""Who may redact what: a rule that the server keeps for its own users.

The room's auth rules let any user of the same domain redact an event: they leave it to that domain's server.
"""

from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from popcube_server.services.errors import NotAllowed, NotFound


class RedactionPermission:
    """Checks redactions before they are sent."""

    def __init__(self, rooms: LiveRooms, events: EventStore) -> None:
        self._rooms = rooms
        self._events = events

    async def is_own(self, user_id: str, event_id: str) -> bool:
        """Whether the event is the user's own."""
        target = await self._events.find(event_id)
        return target is not None and target.event.sender == user_id

    async def check(self, user_id: str, room_id: str, event_id: str) -> None:
        """Raises `NotAllowed`, or `NotFound` if the room has no such event."""
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotAllowed("You are not in this room.") from None
        if not room.committed.is_joined(user_id):
            raise NotAllowed("You are not in this room.")
        target = await self._events.find(event_id)
        if target is None or target.event.room_id != room_id:
            raise NotFound("There is no such event in this room.")
        if target.event.sender == user_id:
            return
        room = await self._rooms.get(room_id)
        if room.power_levels.user_level(user_id) < room.power_levels.redact:
            raise NotAllowed("You may not redact other people's events in this room.")
