"""Specification module pusher."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.services.push.pushers import Pushers


class PusherEndpoints:
    def __init__(self, pushers: Pushers) -> None:
        self._pushers = pushers

    @endpoint("GET", "/_matrix/client/v3/pushers")
    async def get(self, call: Call) -> Mapping[str, Any]:
        return {"pushers": await self._pushers.get(call.requester)}

    @endpoint("POST", "/_matrix/client/v3/pushers/set")
    async def set(self, call: Call) -> Mapping[str, Any]:
        await self._pushers.set(call.requester, call.body)
        return {}
