"""Specification module sync."""

from collections.abc import Mapping

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.rest.parse import query_bool, query_choice, query_int
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.errors import InvalidParam, NotFound
from popcube_server.services.filters.stored_filters import StoredFilters
from popcube_server.services.filters.sync_filter import NO_FILTER, SyncFilter, parse_filter_json
from popcube_server.services.sync.request import MAX_TIMELINE_LIMIT, StateStyle, SyncRequest, SyncView
from popcube_server.services.sync.sync import MAX_TIMEOUT_MS, Sync
from popcube_server.services.sync.tokens import parse_sync_token
from popcube_server.services.sync.view_of_filter import view_of_filter

VIEWS_IN_MEMORY = 5_000
MAX_REMEMBERED_LENGTH = 2_000

PRESENCES = ("offline", "online", "unavailable")

_STYLES: Mapping[str, StateStyle] = {
    "use_state_after": StateStyle.AFTER,
    # COMPAT: MSC4222 before it was part of the specification.
    "org.matrix.msc4222.use_state_after": StateStyle.AFTER_UNSTABLE,
}


class SyncEndpoint:
    """What clients call all the time."""

    def __init__(self, sync: Sync, filters: StoredFilters, timeline_limit: int) -> None:
        self._sync = sync
        self._filters = filters
        self._timeline_limit = MAX_TIMELINE_LIMIT if timeline_limit < 0 else timeline_limit
        self._no_filter = view_of_filter(NO_FILTER, self._timeline_limit)
        # Clients send the same filter with every request; what a text or an ID means never changes.
        self._views: BoundedCache[tuple[str, str], SyncView] = BoundedCache(VIEWS_IN_MEMORY)

    @endpoint("GET", "/_matrix/client/v3/sync", Access.GUEST)
    async def sync(self, call: Call) -> Answer:
        since = call.query_one("since")
        # An empty `since` is none: some clients begin so.
        token = parse_sync_token(since) if since else None
        request = SyncRequest(
            requester=call.requester,
            since=token,
            view=await self._view(call),
            timeout_ms=query_int(call, "timeout", 0, 0, MAX_TIMEOUT_MS),
            is_full_state=query_bool(call, "full_state", False),
            state_style=_state_style(call),
            presence=query_choice(call, "set_presence", PRESENCES) or "online",
        )
        return Answer(await self._sync.sync(request))

    async def _view(self, call: Call) -> SyncView:
        text = call.query_one("filter")
        if not text:
            return self._no_filter
        key = (call.requester.user_id, text)
        view = self._views.get(key)
        if view is None:
            view = view_of_filter(await self._find_filter(*key), self._timeline_limit)
            if len(text) <= MAX_REMEMBERED_LENGTH:
                self._views.put(key, view)
        return view

    async def _find_filter(self, user_id: str, text: str) -> SyncFilter:
        # "The server will detect whether it is an ID or a JSON object by whether the first character is a "{" open
        # brace."
        if text.startswith("{"):
            return parse_filter_json(text)
        try:
            return await self._filters.get(user_id, text)
        except NotFound:
            raise InvalidParam("There is no filter with this ID.") from None


def _state_style(call: Call) -> StateStyle:
    for name, style in _STYLES.items():
        if query_bool(call, name, False):
            return style
    return StateStyle.BEFORE
