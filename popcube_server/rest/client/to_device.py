"""Specification module to_device: messages from device to device."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Access, Call, endpoint
from popcube_server.rest.parse import get_object
from popcube_server.services.errors import BadJson
from popcube_server.services.to_device.send_to_device import SendToDevices


class ToDevice:
    """PUT /sendToDevice."""

    def __init__(self, send_to_device: SendToDevices) -> None:
        self._send_to_device = send_to_device

    @endpoint("PUT", "/_matrix/client/v3/sendToDevice/{event_type}/{txn_id}", Access.GUEST)
    async def send(self, call: Call) -> Mapping[str, Any]:
        messages = get_object(call.body, "messages")
        for user_id, devices in messages.items():
            if not isinstance(devices, dict) or not all(isinstance(one, dict) for one in devices.values()):
                raise BadJson(f"The messages for '{user_id}' must be an object of objects.")
        await self._send_to_device.send(
            call.requester, call.path["event_type"], call.path["txn_id"], messages
        )
        return {}
