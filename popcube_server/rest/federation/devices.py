"""Specification modules user_devices and end-to-end encryption of the server-server API."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from federation.room_dag.identifiers import domain_of, is_user_id
from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import get_object
from popcube_server.services.errors import BadJson
from popcube_server.services.federation.answer_queries import AnswerQueries
from popcube_server.services.keys.claim_keys import ClaimKeys

NO_TIMEOUT: Final = 0


class Devices:
    def __init__(self, answer: AnswerQueries, claim_keys: ClaimKeys, server_name: str) -> None:
        self._answer = answer
        self._claim_keys = claim_keys
        self._server_name = server_name

    @endpoint("GET", "/_matrix/federation/v1/user/devices/{user_id}", Access.SERVER)
    async def devices(self, call: Call) -> Mapping[str, Any]:
        user_id = call.path["user_id"]
        found = await self._answer.devices(user_id)
        answer: dict[str, Any] = {"user_id": user_id, "stream_id": found.stream_id, "devices": []}
        for device_id, device in found.user.devices.items():
            if device.keys is None:
                continue
            listed: dict[str, Any] = {"device_id": device_id, "keys": orjson.Fragment(device.keys)}
            if device.display_name is not None:
                listed["device_display_name"] = device.display_name
            answer["devices"].append(listed)
        if found.user.signing.master is not None:
            answer["master_key"] = orjson.Fragment(found.user.signing.master)
        if found.user.signing.self_signing is not None:
            answer["self_signing_key"] = orjson.Fragment(found.user.signing.self_signing)
        return answer

    @endpoint("POST", "/_matrix/federation/v1/user/keys/query", Access.SERVER)
    async def query(self, call: Call) -> Mapping[str, Any]:
        wanted = get_object(call.body, "device_keys")
        for user_id, devices in wanted.items():
            if not isinstance(devices, list) or not all(isinstance(one, str) for one in devices):
                raise BadJson(f"The devices of '{user_id}' must be a list of strings.")
        found = await self._answer.keys(wanted)
        return {
            "device_keys": {
                user_id: {
                    device_id: _with_name(device.keys, device.display_name)
                    for device_id, device in user.devices.items()
                    if device.keys is not None and (not wanted[user_id] or device_id in wanted[user_id])
                }
                for user_id, user in found.items()
            },
            "master_keys": {
                user_id: orjson.Fragment(user.signing.master)
                for user_id, user in found.items()
                if user.signing.master is not None
            },
            "self_signing_keys": {
                user_id: orjson.Fragment(user.signing.self_signing)
                for user_id, user in found.items()
                if user.signing.self_signing is not None
            },
        }

    @endpoint("POST", "/_matrix/federation/v1/user/keys/claim", Access.SERVER)
    async def claim(self, call: Call) -> Mapping[str, Any]:
        users = {}
        for user_id, devices in get_object(call.body, "one_time_keys").items():
            if not isinstance(devices, dict) or not all(isinstance(one, str) for one in devices.values()):
                raise BadJson(f"The devices of '{user_id}' must be an object of strings.")
            # Only of this server's users: nobody asks a third server through this one.
            if is_user_id(user_id) and domain_of(user_id) == self._server_name:
                users[user_id] = devices
        claimed = await self._claim_keys.claim(users, NO_TIMEOUT)
        return {
            "one_time_keys": {
                user_id: {
                    device_id: {name: orjson.Fragment(json) for name, json in keys.items()}
                    for device_id, keys in devices.items()
                }
                for user_id, devices in claimed.users.items()
            }
        }


def _with_name(keys: bytes, display_name: str | None) -> Any:
    if display_name is None:
        return orjson.Fragment(keys)
    return {**orjson.loads(keys), "unsigned": {"device_display_name": display_name}}
