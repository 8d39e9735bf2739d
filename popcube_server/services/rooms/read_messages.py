"""Paging through a room's history. Source: client-server API, `/rooms/{roomId}/messages`."""

from collections.abc import Sequence

from popcube_server.services.filters.event_filter import RoomEventFilter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import STYLE, EventJson
from popcube_server.services.rooms.history_pages import HistoryPages
from popcube_server.services.rooms.members_at import MembersAt
from popcube_server.services.rooms.read_event import BUNDLED_STYLE
from popcube_server.services.rooms.room_views import RoomViews
from popcube_server.services.rooms.timeline_pages import Page, Span
from popcube_server.services.rooms.visibility import BEGINNING, END
from popcube_server.services.sync.places import Places
from synapse_like_config.lazy_dataclasses import dataclass

NO_FILTER = RoomEventFilter()


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """Which page is wanted. The tokens are as the client sent them."""

    is_backward: bool
    start: str | None = None
    to: str | None = None
    limit: int = 10
    wanted: RoomEventFilter = NO_FILTER


@dataclass(frozen=True, slots=True)
class Messages:
    """A page, rendered."""

    start: str
    end: str | None
    chunk: Sequence[bytes]
    state: Sequence[bytes] | None
    """Members that lazy loading needs; None if it is not asked for."""


class ReadMessages:
    def __init__(
        self,
        views: RoomViews,
        pages: HistoryPages,
        members: MembersAt,
        event_json: EventJson,
        places: Places,
    ) -> None:
        self._views = views
        self._pages = pages
        self._members = members
        self._event_json = event_json
        self._places = places

    async def read(self, requester: Requester, room_id: str, request: MessagesRequest) -> Messages:
        """Raises `NotAllowed`, `InvalidParam` for a wrong token."""
        read_place = self._places.behind if request.is_backward else self._places.ahead
        begin = None if request.start is None else await read_place(request.start)
        to = None if request.to is None else await self._places.ahead(request.to)
        await self._views.of(requester.user_id, room_id)
        if request.is_backward:
            # "If it is not provided, the homeserver shall return a list of messages from the first or last (per the
            # value of the `dir` parameter) visible event in the room history for the requesting user."
            begin = self._pages.end if begin is None else begin
            span = Span(BEGINNING if to is None else to, begin)
            read = self._pages.backward
        else:
            begin = BEGINNING if begin is None else begin
            span = Span(begin, END if to is None else to)
            read = self._pages.forward
        page = await read(requester.user_id, room_id, span, request.limit, request.wanted)
        return Messages(
            request.start or str(self._places.token(begin)),
            # "If no further events are available ..., this property is omitted from the response."
            None if page.next is None else str(self._places.token(page.next)),
            await self._event_json.render(page.events, requester, BUNDLED_STYLE),
            await self._state(room_id, page) if request.wanted.lazy_load_members else None,
        )

    async def _state(self, room_id: str, page: Page) -> list[bytes]:
        if not page.events:
            return []
        senders = dict.fromkeys(stored.event.sender for stored in page.events)
        newest = max((page.events[0], page.events[-1]), key=lambda stored: stored.ordering)
        return self._event_json.state(await self._members.of(room_id, senders, newest), STYLE)
