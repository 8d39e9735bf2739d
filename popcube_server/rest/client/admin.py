"""Specification module server administration: whois, locking and suspending."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import find_bool
from popcube_server.services.accounts.devices import Device
from popcube_server.services.accounts.moderate_account import ModerateAccount
from popcube_server.services.accounts.whois import Whois
from popcube_server.services.errors import MissingParam


class Admin:
    def __init__(self, whois: Whois, moderate_account: ModerateAccount) -> None:
        self._whois = whois
        self._moderate_account = moderate_account

    @endpoint("GET", "/_matrix/client/v3/admin/whois/{user_id}")
    async def whois(self, call: Call) -> Mapping[str, Any]:
        user_id = call.path["user_id"]
        devices = await self._whois.get_devices(call.requester, user_id)
        return {
            "user_id": user_id,
            "devices": {
                device.device_id: {"sessions": [{"connections": _connections(device)}]} for device in devices
            },
        }

    @endpoint("GET", "/_matrix/client/v1/admin/lock/{user_id}", Access.ADMIN)
    async def is_locked(self, call: Call) -> Mapping[str, Any]:
        return {"locked": await self._moderate_account.is_locked(call.path["user_id"])}

    @endpoint("PUT", "/_matrix/client/v1/admin/lock/{user_id}", Access.ADMIN)
    async def lock(self, call: Call) -> Mapping[str, Any]:
        value = _get_bool(call.body, "locked")
        await self._moderate_account.lock(call.requester, call.path["user_id"], value)
        return {"locked": value}

    @endpoint("GET", "/_matrix/client/v1/admin/suspend/{user_id}", Access.ADMIN)
    async def is_suspended(self, call: Call) -> Mapping[str, Any]:
        return {"suspended": await self._moderate_account.is_suspended(call.path["user_id"])}

    @endpoint("PUT", "/_matrix/client/v1/admin/suspend/{user_id}", Access.ADMIN)
    async def suspend(self, call: Call) -> Mapping[str, Any]:
        value = _get_bool(call.body, "suspended")
        await self._moderate_account.suspend(call.requester, call.path["user_id"], value)
        return {"suspended": value}


def _connections(device: Device) -> list[Mapping[str, Any]]:
    if device.last_seen_ms is None:
        return []
    return [
        {
            "ip": device.last_seen_address,
            "last_seen": device.last_seen_ms,
            "user_agent": device.last_seen_user_agent,
        }
    ]


def _get_bool(body: Mapping[str, Any], key: str) -> bool:
    value = find_bool(body, key)
    if value is None:
        raise MissingParam(f"'{key}' is missing.")
    return value
