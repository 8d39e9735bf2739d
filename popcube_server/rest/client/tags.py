"""Specification module tags."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.services.account_data.tags import Tags

_TAGS = "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/tags"


class TagsEndpoints:
    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    @endpoint("GET", _TAGS)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return {"tags": await self._tags.get(call.requester, call.path["user_id"], call.path["room_id"])}

    @endpoint("PUT", _TAGS + "/{tag}")
    async def set(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        await self._tags.set(call.requester, path["user_id"], path["room_id"], path["tag"], call.body)
        return {}

    @endpoint("DELETE", _TAGS + "/{tag}")
    async def delete(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        await self._tags.delete(call.requester, path["user_id"], path["room_id"], path["tag"])
        return {}
