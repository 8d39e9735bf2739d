"""EDUs as they are sent: pure functions from what is stored to canonical JSON.

Source: server-server API, "Typing Notifications", "Presence", "Receipts", "Device Management" and "Send-to-device
messaging".
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from federation.room_dag.canonical_json import encode_lenient
from storage.presence import SetPresence
from storage.receipts import PUBLIC, StoreReceipt
from storage.to_device_remote import WaitingMessage
from synapse_like_config.lazy_dataclasses import dataclass

DEVICE_LIST_UPDATE: Final = "m.device_list_update"
DIRECT_TO_DEVICE: Final = "m.direct_to_device"
PRESENCE: Final = "m.presence"
RECEIPT: Final = "m.receipt"
SIGNING_KEY_UPDATE: Final = "m.signing_key_update"
TYPING: Final = "m.typing"


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """What others may know of a device."""

    display_name: str | None
    keys: bytes | None
    """JSON of the identity keys with their signatures; None if none were uploaded."""


@dataclass(frozen=True, slots=True)
class OwnSigningKeys:
    """JSON of a user's public cross-signing keys."""

    master: bytes | None
    self_signing: bytes | None


def _edu(edu_type: str, content: Mapping[str, Any]) -> bytes:
    return encode_lenient({"edu_type": edu_type, "content": content})


def typing_edu(room_id: str, user_id: str, is_typing: bool) -> bytes:
    return _edu(TYPING, {"room_id": room_id, "user_id": user_id, "typing": is_typing})


def receipt_edus(receipts: Iterable[StoreReceipt]) -> list[bytes]:
    """As few as possible: one holds one receipt of each user in each room."""
    contents: list[dict[str, dict[str, dict[str, Any]]]] = []
    for receipt in receipts:
        data: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            data["thread_id"] = receipt.thread_id
        content = next((one for one in contents if not _has_receipt(one, receipt)), None)
        if content is None:
            contents.append(content := {})
        users = content.setdefault(receipt.room_id, {PUBLIC: {}})[PUBLIC]
        users[receipt.user_id] = {"data": data, "event_ids": [receipt.event_id]}
    return [_edu(RECEIPT, content) for content in contents]


def _has_receipt(content: Mapping[str, Mapping[str, Mapping[str, Any]]], receipt: StoreReceipt) -> bool:
    room = content.get(receipt.room_id)
    return room is not None and receipt.user_id in room[PUBLIC]


def presence_edu(presences: Iterable[SetPresence], now_ms: int) -> bytes:
    return _edu(PRESENCE, {"push": [_push(presence, now_ms) for presence in presences]})


def _push(presence: SetPresence, now_ms: int) -> dict[str, Any]:
    push: dict[str, Any] = {
        "user_id": presence.user_id,
        "presence": presence.state,
        "last_active_ago": max(0, now_ms - presence.last_active_ms),
        "currently_active": presence.currently_active,
    }
    if presence.status_msg is not None:
        push["status_msg"] = presence.status_msg
    return push


def device_list_edu(
    user_id: str, device_id: str, stream_id: int, previous: int | None, device: OwnDevice | None
) -> bytes:
    """`device` is None if it was deleted."""
    content: dict[str, Any] = {
        "user_id": user_id,
        "device_id": device_id,
        "stream_id": stream_id,
        "prev_id": [] if previous is None else [previous],
    }
    if device is None:
        content["deleted"] = True
    else:
        if device.display_name is not None:
            content["device_display_name"] = device.display_name
        if device.keys is not None:
            content["keys"] = orjson.loads(device.keys)
    return _edu(DEVICE_LIST_UPDATE, content)


def signing_key_edu(user_id: str, keys: OwnSigningKeys) -> bytes:
    content: dict[str, Any] = {"user_id": user_id}
    if keys.master is not None:
        content["master_key"] = orjson.loads(keys.master)
    if keys.self_signing is not None:
        content["self_signing_key"] = orjson.loads(keys.self_signing)
    return _edu(SIGNING_KEY_UPDATE, content)


def to_device_edu(message: WaitingMessage) -> bytes:
    content = orjson.loads(message.content)
    # Positions are never used twice: unique for this server, and at most 32 characters long.
    content["message_id"] = message.message_id
    return _edu(DIRECT_TO_DEVICE, content)


def transaction_body(origin: str, now_ms: int, pdus: list[bytes], edus: list[bytes]) -> bytes:
    """Canonical JSON of a transaction; PDUs are spliced in as they are stored."""
    return b'{"edus":[%b],"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
        b",".join(edus),
        orjson.dumps(origin),
        now_ms,
        b",".join(pdus),
    )
