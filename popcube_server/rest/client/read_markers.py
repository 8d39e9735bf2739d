"""Specification module read_markers."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_string
from popcube_server.services.presence.presence import Presence
from popcube_server.services.receipts.send_receipt import RECEIPT_TYPES, SendReceipt


class ReadMarkers:
    def __init__(self, send_receipt: SendReceipt, presence: Presence) -> None:
        self._send_receipt = send_receipt
        self._presence = presence

    @endpoint("POST", "/_matrix/client/v3/rooms/{room_id}/read_markers")
    async def mark(self, call: Call) -> Mapping[str, Any]:
        markers = {
            name: event_id for name in RECEIPT_TYPES if (event_id := find_string(call.body, name)) is not None
        }
        await self._send_receipt.mark(call.requester, call.path["room_id"], markers)
        self._presence.note_active(call.requester.user_id, call.requester.device_id)
        return {}
