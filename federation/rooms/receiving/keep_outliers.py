"""Store events that are needed to judge others, outside of the room's timeline."""

from collections.abc import Mapping

from federation.room_dag.event import Event
from federation.rooms.event_store import EventStore
from federation.rooms.receiving.auth_order import judge_by_auth_events
from storage.committer import Commits
from storage.events import OUTLIER, REJECTED, StoreEvent


class KeepOutliers:
    """Judges events by their auth events and stores them; the room is known to this server."""

    def __init__(self, events: EventStore, committer: Commits) -> None:
        self._events = events
        self._committer = committer

    async def keep(self, events: Mapping[str, Event]) -> None:
        """Signatures were checked, and that all are of one room. What cannot be judged is not stored."""
        if not events:
            return
        needed = {auth_id for event in events.values() for auth_id in event.auth_events}
        # From version 12 on the room's ID names the create event.
        needed.update("$" + event.room_id[1:] for event in events.values())
        stored = await self._events.get_many({*events, *needed})
        new = {event_id: event for event_id, event in events.items() if event_id not in stored}
        judged = judge_by_auth_events(
            new,
            {event_id: each.event for event_id, each in stored.items()},
            [event_id for event_id, each in stored.items() if each.flags & REJECTED],
        )
        changes = [outlier(event) for event in judged.accepted.values()]
        changes += [outlier(event, REJECTED) for event in judged.rejected.values()]
        if changes:
            await self._committer.commit(*changes)


def outlier(event: Event, flags: int = 0) -> StoreEvent:
    """An event as it is stored outside of the timeline."""
    return StoreEvent(
        room_id=event.room_id,
        event_id=event.event_id,
        type=event.type,
        sender=event.sender,
        state_key=event.state_key,
        origin_server_ts=event.origin_server_ts,
        json=event.json,
        snapshot=None,
        flags=OUTLIER | flags,
        auth_events=event.auth_events,
    )
