"""One-time keys for other sites: see `federation/sites/claim_at_peers.py`."""

from collections.abc import Mapping
from typing import Any

import orjson

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import get_object
from popcube_server.services.errors import BadJson
from popcube_server.services.keys.give_keys import GiveKeys


class SiteKeys:
    def __init__(self, give: GiveKeys) -> None:
        self._give = give

    @endpoint("POST", "/_popcube/sites/v1/keys/claim", Access.SERVER)
    async def claim(self, call: Call) -> Mapping[str, Any]:
        users: dict[str, Mapping[str, str]] = {}
        for user_id, devices in get_object(call.body, "one_time_keys").items():
            if not isinstance(devices, dict) or not all(isinstance(one, str) for one in devices.values()):
                raise BadJson(f"The devices of '{user_id}' must be an object of strings.")
            users[user_id] = devices
        given = await self._give.give(users)
        return {
            "one_time_keys": {
                user_id: {
                    device_id: {name: orjson.Fragment(json) for name, json in keys.items()}
                    for device_id, keys in devices.items()
                }
                for user_id, devices in given.items()
            }
        }
