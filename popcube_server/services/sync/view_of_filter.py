"""From a client's filter to what sync looks at."""

from collections.abc import Callable

from federation.rooms.stored_event import StoredEvent
from popcube_server.services.filters.event_filter import EventFilter, RoomEventFilter
from popcube_server.services.filters.sync_filter import SyncFilter
from popcube_server.services.rooms.event_json import EventStyle
from popcube_server.services.sync.request import (
    DEFAULT_TIMELINE_LIMIT,
    DataSelection,
    EventSelection,
    SyncView,
)


def view_of_filter(chosen: SyncFilter, max_limit: int) -> SyncView:
    """What the filter selects. A timeline never has more than `max_limit` events."""
    room = chosen.room
    limit = room.timeline.limit
    has_room_list = room.rooms is not None or bool(room.not_rooms)
    # The threads' flag stands in a filter of room events; the specification does not say in which part's.
    parts = (room.timeline, room.state, room.ephemeral, room.account_data)
    return SyncView(
        is_room_wanted=room.matches_room if has_room_list else None,
        has_left_rooms=room.include_leave,
        timeline_limit=min(DEFAULT_TIMELINE_LIMIT if limit is None else limit, max_limit),
        timeline=_events(room.timeline),
        state=_events(room.state),
        is_lazy=room.state.lazy_load_members,
        has_redundant_members=room.state.include_redundant_members,
        has_threads=any(part.unread_thread_notifications for part in parts),
        ephemeral=_data(room.ephemeral),
        room_account_data=_data(room.account_data),
        account_data=_global_data(chosen.account_data),
        presence=_global_data(chosen.presence),
        style=EventStyle(False, chosen.federation_format, chosen.event_fields),
    )


def _events(part: RoomEventFilter) -> EventSelection:
    predicate = part.predicate()
    if predicate is None:
        return EventSelection()
    wanted = predicate

    def matches(stored: StoredEvent) -> bool:
        return wanted(stored.event)

    return EventSelection(matches, _rooms(part), part)


def _data(part: RoomEventFilter) -> DataSelection:
    if part.is_unrestricted:
        return DataSelection()
    selection = _global_data(part.events)
    return DataSelection(selection.has_type, selection.has_sender, _rooms(part))


def _global_data(part: EventFilter) -> DataSelection:
    if part.is_unrestricted:
        return DataSelection()

    def has_type(event_type: str) -> bool:
        return part.matches(event_type, None)

    def has_sender(sender: str) -> bool:
        return sender not in part.not_senders and (part.senders is None or sender in part.senders)

    return DataSelection(has_type, has_sender)


def _rooms(part: RoomEventFilter) -> Callable[[str], bool] | None:
    return part.matches_room if part.rooms is not None or part.not_rooms else None
