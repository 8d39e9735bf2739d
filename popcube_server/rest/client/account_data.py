"""Specification module account-data."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Answer, Call, endpoint
from popcube_server.services.account_data.account_data import AccountData, check_room_id

_GLOBAL = "/_matrix/client/v3/user/{user_id}/account_data/{type}"
_IN_ROOM = "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/account_data/{type}"


class AccountDataEndpoints:
    def __init__(self, account_data: AccountData) -> None:
        self._account_data = account_data

    @endpoint("PUT", _GLOBAL)
    async def set(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        await self._account_data.set(call.requester, path["user_id"], "", path["type"], call.body)
        return {}

    @endpoint("GET", _GLOBAL)
    async def get(self, call: Call) -> Answer:
        path = call.path
        return Answer(await self._account_data.get(call.requester, path["user_id"], "", path["type"]))

    @endpoint("PUT", _IN_ROOM)
    async def set_in_room(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        check_room_id(path["room_id"])
        await self._account_data.set(
            call.requester, path["user_id"], path["room_id"], path["type"], call.body
        )
        return {}

    @endpoint("GET", _IN_ROOM)
    async def get_in_room(self, call: Call) -> Answer:
        path = call.path
        check_room_id(path["room_id"])
        content = await self._account_data.get(call.requester, path["user_id"], path["room_id"], path["type"])
        return Answer(content)
