"""Specification module profiles."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.services.errors import BadJson, MissingParam
from popcube_server.services.profiles.change_profile import ChangeProfile
from popcube_server.services.profiles.profile_fields import check_field_name
from popcube_server.services.profiles.read_profile import ReadProfile


class Profile:
    def __init__(self, read_profile: ReadProfile, change_profile: ChangeProfile) -> None:
        self._read_profile = read_profile
        self._change_profile = change_profile

    @endpoint("GET", "/_matrix/client/v3/profile/{user_id}", Access.OPTIONAL)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return await self._read_profile.get(call.maybe_requester, call.path["user_id"])

    @endpoint("GET", "/_matrix/client/v3/profile/{user_id}/{key_name}", Access.OPTIONAL)
    async def get_field(self, call: Call) -> Mapping[str, Any]:
        field = call.path["key_name"]
        return {field: await self._read_profile.get_field(call.maybe_requester, call.path["user_id"], field)}

    @endpoint("PUT", "/_matrix/client/v3/profile/{user_id}/{key_name}", Access.GUEST)
    async def set_field(self, call: Call) -> Mapping[str, Any]:
        field = call.path["key_name"]
        check_field_name(field)
        # "exactly one property. The key of that property MUST match the keyName specified in the URL."
        if field not in call.body:
            raise MissingParam(f"'{field}' is missing.")
        if len(call.body) != 1:
            raise BadJson(f"The body must have '{field}' and nothing else.")
        await self._change_profile.set(call.requester, call.path["user_id"], field, call.body[field])
        return {}

    @endpoint("DELETE", "/_matrix/client/v3/profile/{user_id}/{key_name}", Access.GUEST)
    async def delete_field(self, call: Call) -> Mapping[str, Any]:
        await self._change_profile.delete(call.requester, call.path["user_id"], call.path["key_name"])
        return {}
