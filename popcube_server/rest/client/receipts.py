"""Specification module receipts."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.endpoint import Call, Payload, endpoint
from popcube_server.services.errors import InvalidParam
from popcube_server.services.presence.presence import Presence
from popcube_server.services.receipts.send_receipt import SendReceipt


class Receipts:
    def __init__(self, send_receipt: SendReceipt, presence: Presence) -> None:
        self._send_receipt = send_receipt
        self._presence = presence

    # COMPAT: old clients send no body.
    @endpoint(
        "POST",
        "/_matrix/client/v3/rooms/{room_id}/receipt/{receipt_type}/{event_id}",
        payload=Payload.OPTIONAL_JSON_OBJECT,
    )
    async def send(self, call: Call) -> Mapping[str, Any]:
        path = call.path
        thread_id = call.body.get("thread_id")
        # Among what makes a `thread_id` invalid, the specification has "It is not a string."
        if "thread_id" in call.body and not isinstance(thread_id, str):
            raise InvalidParam("'thread_id' must be a string.")
        await self._send_receipt.send(
            call.requester, path["room_id"], path["receipt_type"], path["event_id"], thread_id
        )
        self._presence.note_active(call.requester.user_id, call.requester.device_id)
        return {}
