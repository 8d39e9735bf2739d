"""What happened around an event. Source: client-server API, `/rooms/{roomId}/context/{eventId}`."""

from collections.abc import Sequence

from federation.rooms.room_state import MEMBER
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.filters.event_filter import RoomEventFilter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import STYLE, EventJson
from popcube_server.services.rooms.history_pages import HistoryPages
from popcube_server.services.rooms.read_event import BUNDLED_STYLE, ReadEvent
from popcube_server.services.rooms.state_at import StatesAt
from popcube_server.services.rooms.timeline_pages import Span
from popcube_server.services.rooms.visibility import BEGINNING, END
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.tokens import PaginationToken
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """An event between its neighbours, rendered."""

    start: PaginationToken
    end: PaginationToken
    before: Sequence[bytes]
    event: bytes
    after: Sequence[bytes]
    state: Sequence[bytes]


class ReadContext:
    def __init__(
        self,
        read_event: ReadEvent,
        pages: HistoryPages,
        states: StatesAt,
        event_json: EventJson,
        places: Places,
    ) -> None:
        self._read_event = read_event
        self._pages = pages
        self._states = states
        self._event_json = event_json
        self._places = places

    async def read(
        self, requester: Requester, room_id: str, event_id: str, limit: int, wanted: RoomEventFilter
    ) -> Context:
        """Raises `NotFound` if the event does not exist or the user may not see it."""
        stored = await self._read_event.get(requester.user_id, room_id, event_id)
        at = stored.ordering
        before = await self._pages.backward(
            requester.user_id, room_id, Span(BEGINNING, at - 1), limit // 2, wanted
        )
        after = await self._pages.forward(
            requester.user_id, room_id, Span(at, END), limit - limit // 2, wanted
        )
        events = (*reversed(before.events), stored, *after.events)
        rendered = await self._event_json.render(events, requester, BUNDLED_STYLE)
        middle = len(before.events)
        return Context(
            self._places.token(events[0].ordering - 1),
            self._places.token(events[-1].ordering),
            rendered[:middle][::-1],
            rendered[middle],
            rendered[middle + 1 :],
            await self._state(room_id, events, wanted),
        )

    async def _state(
        self, room_id: str, events: Sequence[StoredEvent], wanted: RoomEventFilter
    ) -> list[bytes]:
        # `state`: "The state of the room at the last event returned."
        entries = await self._states.at(room_id, events[-1].ordering)
        if wanted.lazy_load_members:
            senders = {stored.event.sender for stored in events}
            entries = {
                pair: event_id
                for pair, event_id in entries.items()
                if pair[0] != MEMBER or pair[1] in senders
            }
        state = await self._states.events(entries)
        return self._event_json.state([one for one in state if wanted.matches(one.event)], STYLE)
