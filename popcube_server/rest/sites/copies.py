"""A copy of everything for a site that begins; and how this site stands, for its own operator."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.rest.parse import query_int
from popcube_server.services.errors import NotAllowed
from popcube_server.services.sites.give_copy import MAX_PIECE_BYTES, GiveCopy
from popcube_server.services.sites.site_status import SiteStatus

_LINK = "/_popcube/sites/v1/"


class SiteCopies:
    def __init__(self, give: GiveCopy, secret_check: str) -> None:
        """`secret_check` is the same on sites whose secrets are: tokens of one must be good at the other."""
        self._give = give
        self._secret_check = secret_check

    @endpoint("POST", _LINK + "copies", Access.SERVER)
    async def begin(self, call: Call) -> Mapping[str, Any]:
        return {**await self._give.begin(call.origin), "secret_check": self._secret_check}

    @endpoint("GET", _LINK + "copies/{copy_id}", Access.SERVER)
    async def status(self, call: Call) -> Mapping[str, Any]:
        return self._give.status(call.origin, call.path["copy_id"])

    @endpoint("GET", _LINK + "copies/{copy_id}/content", Access.SERVER)
    async def content(self, call: Call) -> Answer:
        offset = query_int(call, "offset", 0, 0, 2**53)
        length = query_int(call, "length", MAX_PIECE_BYTES, 1, MAX_PIECE_BYTES)
        piece = await self._give.read(call.origin, call.path["copy_id"], offset, length)
        return Answer(piece, content_type="application/octet-stream")

    @endpoint("DELETE", _LINK + "copies/{copy_id}", Access.SERVER)
    async def finish(self, call: Call) -> Mapping[str, Any]:
        await self._give.finish(call.origin, call.path["copy_id"])
        return {}


class SiteStatusServlet:
    def __init__(self, own_name: str, status: SiteStatus) -> None:
        self._own_name = own_name
        self._status = status

    @endpoint("GET", _LINK + "status", Access.SERVER)
    async def status(self, call: Call) -> Mapping[str, Any]:
        if call.origin != self._own_name:
            raise NotAllowed("This is for the site itself.")
        return await self._status.get()
