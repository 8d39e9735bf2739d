"""Specification module wellknown of the server-server API: where other servers find this one."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint


class WellKnownServer:
    """`document` is the whole answer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    @endpoint("GET", "/.well-known/matrix/server", Access.OPEN)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return self._document
