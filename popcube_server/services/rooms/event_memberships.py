"""What a reader was in the room at each event: `unsigned.membership`."""

from collections.abc import Mapping, Sequence

from federation.rooms.stored_event import StoredEvent
from popcube_server.services.rooms.membership_history import MembershipHistories
from popcube_server.services.rooms.past_views import PastViews


class EventMemberships:
    """By the timeline for what happened in front of this server, by the state there for history that was fetched."""

    def __init__(self, histories: MembershipHistories, past: PastViews) -> None:
        self._histories = histories
        self._past = past

    async def of(self, user_id: str, events: Sequence[StoredEvent]) -> Mapping[str, str]:
        """By event ID, for all of them."""
        rooms = {stored.event.room_id for stored in events if not stored.is_found_later}
        histories = {room_id: await self._histories.of(user_id, room_id) for room_id in rooms}
        found_later = [stored for stored in events if stored.is_found_later]
        past = await self._past.after(user_id, found_later) if found_later else {}
        memberships: dict[str, str] = {}
        for stored in events:
            event_id = stored.event.event_id
            if stored.is_found_later:
                view = past.get(event_id)
                membership = None if view is None else view.membership
            else:
                membership = histories[stored.event.room_id].at(stored.ordering)
            # "If the user had yet to join the room at the time of the event ..., this property is set to `leave`."
            memberships[event_id] = membership or "leave"
        return memberships
