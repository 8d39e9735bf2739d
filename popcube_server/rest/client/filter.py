"""Specification module filter."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.services.account_data.account_data import check_owner
from popcube_server.services.filters.stored_filters import StoredFilters


class Filters:
    """Guests sync too, so they may leave filters."""

    def __init__(self, filters: StoredFilters) -> None:
        self._filters = filters

    @endpoint("POST", "/_matrix/client/v3/user/{user_id}/filter", Access.GUEST)
    async def store(self, call: Call) -> Mapping[str, Any]:
        check_owner(call.requester, call.path["user_id"])
        return {"filter_id": await self._filters.store(call.path["user_id"], call.body)}

    @endpoint("GET", "/_matrix/client/v3/user/{user_id}/filter/{filter_id}", Access.GUEST)
    async def get(self, call: Call) -> Answer:
        check_owner(call.requester, call.path["user_id"])
        return Answer(await self._filters.get_content(call.path["user_id"], call.path["filter_id"]))
