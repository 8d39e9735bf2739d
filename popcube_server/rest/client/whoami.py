"""Specification module whoami."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint


class Whoami:
    @endpoint("GET", "/_matrix/client/v3/account/whoami", Access.GUEST)
    async def whoami(self, call: Call) -> Mapping[str, Any]:
        requester = call.requester
        return {
            "user_id": requester.user_id,
            "device_id": requester.device_id,
            "is_guest": requester.is_guest,
        }
