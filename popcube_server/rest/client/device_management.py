"""Specification module device management."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.rest.endpoint import Access, Call, Payload, endpoint
from popcube_server.rest.parse import find_string, find_string_list
from popcube_server.services.accounts.delete_devices import DeleteDevices
from popcube_server.services.accounts.devices import Device, Devices
from popcube_server.services.errors import InvalidParam, MissingParam

MAX_DEVICES = 500


class DeviceManagement:
    def __init__(self, devices: Devices, delete_devices: DeleteDevices, confirmation: Confirmation) -> None:
        self._devices = devices
        self._delete_devices = delete_devices
        self._confirmation = confirmation

    @endpoint("GET", "/_matrix/client/v3/devices", Access.GUEST)
    async def get_all(self, call: Call) -> Mapping[str, Any]:
        devices = await self._devices.get_all(call.requester.user_id)
        return {"devices": [_answer(device) for device in devices]}

    @endpoint("GET", "/_matrix/client/v3/devices/{device_id}", Access.GUEST)
    async def get(self, call: Call) -> Mapping[str, Any]:
        return _answer(await self._devices.get(call.requester.user_id, call.path["device_id"]))

    @endpoint("PUT", "/_matrix/client/v3/devices/{device_id}", Access.GUEST)
    async def rename(self, call: Call) -> Mapping[str, Any]:
        user_id, device_id = call.requester.user_id, call.path["device_id"]
        display_name = find_string(call.body, "display_name")
        if display_name is None:
            # "If not given, the display name is unchanged."
            await self._devices.get(user_id, device_id)
        else:
            await self._devices.rename(user_id, device_id, display_name)
        return {}

    @endpoint("DELETE", "/_matrix/client/v3/devices/{device_id}", payload=Payload.OPTIONAL_JSON_OBJECT)
    async def delete(self, call: Call) -> Mapping[str, Any]:
        device_id = call.path["device_id"]
        await self._devices.get(call.requester.user_id, device_id)
        await self._confirmation.confirm(call, device_id)
        await self._delete_devices.delete(call.requester.user_id, [device_id])
        return {}

    @endpoint("POST", "/_matrix/client/v3/delete_devices")
    async def delete_several(self, call: Call) -> Mapping[str, Any]:
        device_ids = find_string_list(self._confirmation.body(call), "devices")
        if device_ids is None:
            raise MissingParam("'devices' is missing.")
        if len(device_ids) > MAX_DEVICES or any("\0" in device_id for device_id in device_ids):
            raise InvalidParam(f"'devices' may have at most {MAX_DEVICES} device IDs.")
        await self._confirmation.confirm(call, "\0".join(sorted(device_ids)))
        await self._delete_devices.delete(call.requester.user_id, device_ids)
        return {}


def _answer(device: Device) -> Mapping[str, Any]:
    answer: dict[str, Any] = {"device_id": device.device_id}
    if device.display_name is not None:
        answer["display_name"] = device.display_name
    if device.last_seen_ms is not None:
        answer["last_seen_ip"] = device.last_seen_address
        answer["last_seen_ts"] = device.last_seen_ms
    return answer
