"""Specification module version: which software this is."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.version import NAME, VERSION


class FederationVersion:
    @endpoint("GET", "/_matrix/federation/v1/version", Access.OPEN)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return {"server": {"name": NAME, "version": VERSION}}
