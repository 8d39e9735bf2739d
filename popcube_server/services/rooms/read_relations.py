"""The events that refer to an event. Source: client-server API, "Relationships API"."""

from collections.abc import Sequence
from dataclasses import replace

from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import EventJson
from popcube_server.services.rooms.read_event import BUNDLED_STYLE, ReadEvent
from popcube_server.services.rooms.read_messages import NO_FILTER
from popcube_server.services.rooms.timeline_pages import Backward, Fetch, Forward, Span, TimelinePages
from popcube_server.services.rooms.visibility import BEGINNING, END
from popcube_server.services.sync.places import Places
from storage.database import Transaction
from storage.event_rows import EventRow
from storage.relations import ChildrenQuery, RelationsRepository
from synapse_like_config.lazy_dataclasses import dataclass

MAX_DEPTH = 3
"""How far `recurse` goes."""


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """Which children are wanted. The tokens are as the client sent them."""

    rel_type: str | None = None
    event_type: str | None = None
    is_recursive: bool = False
    is_backward: bool = True
    start: str | None = None
    to: str | None = None
    limit: int = 10


@dataclass(frozen=True, slots=True)
class Relations:
    """A page of children, rendered."""

    chunk: Sequence[bytes]
    next_batch: str | None


class ReadRelations:
    def __init__(
        self,
        read_event: ReadEvent,
        pages: TimelinePages,
        repository: RelationsRepository,
        event_json: EventJson,
        places: Places,
    ) -> None:
        self._read_event = read_event
        self._pages = pages
        self._repository = repository
        self._event_json = event_json
        self._places = places

    async def read(
        self, requester: Requester, room_id: str, event_id: str, request: RelationsRequest
    ) -> Relations:
        """Raises `NotFound` if the user may not see the parent, `InvalidParam` for a wrong token."""
        read_place = self._places.behind if request.is_backward else self._places.ahead
        begin = None if request.start is None else await read_place(request.start)
        to = None if request.to is None else await self._places.ahead(request.to)
        await self._read_event.get(requester.user_id, room_id, event_id)
        fetch = self._fetch(room_id, event_id, request)
        way: Backward | Forward
        if request.is_backward:
            span = Span(BEGINNING if to is None else to, self._pages.end if begin is None else begin)
            way = Backward(room_id, fetch)
        else:
            span = Span(BEGINNING if begin is None else begin, END if to is None else to)
            way = Forward(room_id, fetch)
        page = await self._pages.walk(way, requester.user_id, span, request.limit, NO_FILTER)
        return Relations(
            await self._event_json.render(page.events, requester, BUNDLED_STYLE),
            None if page.next is None else str(self._places.token(page.next)),
        )

    def _fetch(self, room_id: str, event_id: str, request: RelationsRequest) -> Fetch:
        query = ChildrenQuery(
            room_id,
            event_id,
            request.rel_type,
            request.event_type,
            # "Homeservers SHOULD traverse at least 3 levels of relationships."
            MAX_DEPTH if request.is_recursive else 1,
            BEGINNING,
            END,
            request.limit,
            request.is_backward,
        )

        def fetch(tx: Transaction, span: Span, limit: int) -> list[EventRow]:
            part = replace(query, after=span.after, upto=span.upto, limit=limit)
            return self._repository.get_children(tx, part)

        return fetch
