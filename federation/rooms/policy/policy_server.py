"""What a policy server is to a room, and what its signature is to an event. Pure.

Source: client-server API, "Policy Servers"; server-server API, "Policy servers" (v1.18).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from federation.room_dag.base64 import decode_base64
from federation.room_dag.event import Event, EventTooLarge, decode_pdu
from federation.room_dag.event_format import MAX_EVENT_BYTES
from federation.room_dag.hashes import encode_for_version, signed_bytes
from federation.room_dag.signing import POLICY_KEY_ID, InvalidSignature, find_signature, verify_bytes
from federation.rooms.room_state import RoomState, StatePair
from synapse_like_config.lazy_dataclasses import dataclass

POLICY_PAIR: StatePair = ("m.room.policy", "")


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """`key` is its Ed25519 key as the room has it (32 bytes): the only one that counts."""

    name: str
    key: bytes


def find_policy_server(content: Mapping[str, Any], state: RoomState) -> PolicyServer | None:
    """The room's policy server by the content of `m.room.policy`; None if the room uses none."""
    name, keys = content.get("via"), content.get("public_keys")
    # "If the state event is ... missing required fields, the room does *not* use a Policy Server."
    text = keys.get("ed25519") if isinstance(keys, Mapping) else None
    if not isinstance(name, str) or not isinstance(text, str):
        return None
    # "if the server name in the state event has zero joined users in the room, the room also does *not* use a Policy
    # Server."
    if not state.has_member_of(name):
        return None
    try:
        key = decode_base64(text)
    except ValueError:
        return None
    return PolicyServer(name, key) if len(key) == 32 else None


def is_exempt(event_type: str, state_key: str | None) -> bool:
    """Whether the policy server has no say: "*all* events except for the `m.room.policy` state event itself"."""
    return (event_type, state_key) == POLICY_PAIR


def is_recommended(event: Event, server: PolicyServer) -> bool:
    """Whether the event has the policy server's signature."""
    pdu = decode_pdu(event)
    signature = find_signature(pdu, server.name, POLICY_KEY_ID)
    if signature is None:
        return False
    try:
        verify_bytes(signed_bytes(pdu, event.rules), signature, server.key)
    except InvalidSignature:
        return False
    return True


def with_recommendation(event: Event, server: PolicyServer, signature: str) -> Event:
    """The event with the policy server's signature beside those that it has. Raises `EventTooLarge`."""
    pdu = decode_pdu(event)
    # "The policy server name might be the same as the event's origin ... Those existing signatures ... should be
    # retained".
    pdu["signatures"].setdefault(server.name, {})[POLICY_KEY_ID] = signature
    json = encode_for_version(pdu, event.rules)
    if len(json) > MAX_EVENT_BYTES:
        raise EventTooLarge(f"the event has more than {MAX_EVENT_BYTES} bytes")
    return replace(event, json=json)
