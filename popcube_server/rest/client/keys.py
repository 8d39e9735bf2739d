"""Specification module keys: upload, query and claim keys, and whose changed."""

from collections.abc import Mapping
from typing import Any

import orjson

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import find_int, find_object, get_object, query_string
from popcube_server.services.errors import BadJson
from popcube_server.services.keys.claim_keys import ClaimKeys
from popcube_server.services.keys.device_list_changes import DeviceListChanges
from popcube_server.services.keys.query_keys import QueryKeys
from popcube_server.services.keys.remote_keys import ShownKeys
from popcube_server.services.keys.upload_keys import UploadKeys
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.tokens import parse_sync_token

# "10 seconds is the recommended default."
DEFAULT_TIMEOUT_MS = 10_000
MAX_TIMEOUT_MS = 60_000


class Keys:
    """The endpoints below /keys that deal with devices."""

    def __init__(
        self,
        upload_keys: UploadKeys,
        query_keys: QueryKeys,
        claim_keys: ClaimKeys,
        device_list_changes: DeviceListChanges,
        places: Places,
    ) -> None:
        self._upload_keys = upload_keys
        self._query_keys = query_keys
        self._claim_keys = claim_keys
        self._device_list_changes = device_list_changes
        self._places = places

    @endpoint("POST", "/_matrix/client/v3/keys/upload", Access.GUEST)
    async def upload(self, call: Call) -> Mapping[str, Any]:
        body = call.body
        counts = await self._upload_keys.upload(
            call.requester,
            find_object(body, "device_keys"),
            find_object(body, "one_time_keys") or {},
            find_object(body, "fallback_keys") or {},
        )
        return {"one_time_key_counts": counts}

    @endpoint("POST", "/_matrix/client/v3/keys/query", Access.GUEST)
    async def query(self, call: Call) -> Mapping[str, Any]:
        users = {}
        for user_id, device_ids in get_object(call.body, "device_keys").items():
            if not isinstance(device_ids, list) or not all(isinstance(one, str) for one in device_ids):
                raise BadJson(f"The devices of '{user_id}' must be a list of strings.")
            users[user_id] = tuple(device_ids)
        return _answer(await self._query_keys.query(call.requester.user_id, users, _timeout_ms(call)))

    @endpoint("POST", "/_matrix/client/v3/keys/claim", Access.GUEST)
    async def claim(self, call: Call) -> Mapping[str, Any]:
        users = {}
        for user_id, devices in get_object(call.body, "one_time_keys").items():
            if not isinstance(devices, dict) or not all(isinstance(one, str) for one in devices.values()):
                raise BadJson(f"The devices of '{user_id}' must be an object of strings.")
            users[user_id] = devices
        claimed = await self._claim_keys.claim(users, _timeout_ms(call))
        return {
            "failures": claimed.failures,
            "one_time_keys": {
                user_id: {
                    device_id: {name: orjson.Fragment(json) for name, json in keys.items()}
                    for device_id, keys in devices.items()
                }
                for user_id, devices in claimed.users.items()
            },
        }

    @endpoint("GET", "/_matrix/client/v3/keys/changes")
    async def changes(self, call: Call) -> Mapping[str, Any]:
        since = parse_sync_token(query_string(call, "from"))
        # "This may be used by the server as a hint to check its caches are up to date": they are.
        upto = parse_sync_token(query_string(call, "to"))
        lists = await self._device_list_changes.between(
            call.requester.user_id,
            await self._places.position_of(since),
            await self._places.end_of(upto),
        )
        return {"changed": sorted(lists.changed), "left": sorted(lists.left)}


def _timeout_ms(call: Call) -> int:
    timeout_ms = find_int(call.body, "timeout", low=0)
    return DEFAULT_TIMEOUT_MS if timeout_ms is None else min(timeout_ms, MAX_TIMEOUT_MS)


def _answer(shown: ShownKeys) -> Mapping[str, Any]:
    def objects(keys: Mapping[str, bytes]) -> Mapping[str, orjson.Fragment]:
        return {user_id: orjson.Fragment(json) for user_id, json in keys.items()}

    return {
        "failures": shown.failures,
        "device_keys": objects(shown.device_keys),
        "master_keys": objects(shown.master_keys),
        "self_signing_keys": objects(shown.self_signing_keys),
        "user_signing_keys": objects(shown.user_signing_keys),
    }
