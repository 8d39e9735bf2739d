"""Specification module logout."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, Payload, endpoint
from popcube_server.services.accounts.log_out import LogOut


class Logout:
    """Open to locked accounts too, and to clients that send no body."""

    def __init__(self, log_out: LogOut) -> None:
        self._log_out = log_out

    @endpoint("POST", "/_matrix/client/v3/logout", Access.LOCKED, Payload.NONE)
    async def logout(self, call: Call) -> Mapping[str, Any]:
        await self._log_out.this_device(call.requester)
        return {}

    @endpoint("POST", "/_matrix/client/v3/logout/all", Access.LOCKED, Payload.NONE)
    async def logout_all(self, call: Call) -> Mapping[str, Any]:
        await self._log_out.all_devices(call.requester.user_id)
        return {}
