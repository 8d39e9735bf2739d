"""The receiving end of a link: see `federation/sites/batch.py` for what travels."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import query_string
from popcube_server.services.sites.receive_changes import ReceiveChanges

_LINK = "/_popcube/sites/v1/"


class SiteLinksServlet:
    def __init__(self, receive: ReceiveChanges) -> None:
        self._receive = receive

    @endpoint("GET", _LINK + "cursor", Access.SERVER)
    async def cursor(self, call: Call) -> Mapping[str, Any]:
        position = await self._receive.get_cursor(call.origin, query_string(call, "log"))
        return {"position": position, "log": self._receive.own_log, "versions": self._receive.versions}

    @endpoint("POST", _LINK + "changes", Access.SERVER)
    async def changes(self, call: Call) -> Mapping[str, Any]:
        acknowledgement = await self._receive.receive(call.origin, call.body)
        return {"position": acknowledgement.position, "at": acknowledgement.at}
