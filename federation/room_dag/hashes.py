"""The hashes of an event: the content hash in it, and the reference hash that names it.

Source: server-server API, "Signing Events"; "Event IDs" of each room version.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from federation.room_dag.base64 import decode_base64, encode_base64, encode_base64_url_safe
from federation.room_dag.canonical_json import encode_canonical, encode_lenient
from federation.room_dag.redaction_rules import redacted_fields
from federation.room_dag.room_versions import EventIdFormat, RoomRules


class ContentHashMismatch(ValueError):
    """The event was changed or is a redacted copy: only its redacted form may be used."""


def encode_for_version(value: Any, rules: RoomRules) -> bytes:
    """Canonical JSON as strict as the room version asks; raises NotCanonical."""
    return encode_canonical(value) if rules.strict_canonical_json else encode_lenient(value)


def content_hash(pdu: Mapping[str, Any], rules: RoomRules) -> bytes:
    """SHA-256 over the complete event; raises NotCanonical."""
    # "First, any existing `unsigned`, `signature`, and `hashes` members are removed."
    hashed = {key: value for key, value in pdu.items() if key not in ("unsigned", "signatures", "hashes")}
    return sha256(encode_for_version(hashed, rules)).digest()


def has_valid_content_hash(pdu: Mapping[str, Any], rules: RoomRules) -> bool:
    """Whether the PDU is complete and unchanged since it was signed."""
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, Mapping) else None
    if not isinstance(claimed, str):
        return False
    try:
        # "The content hash in the `hashes` property of the received event is base64-decoded, and the two are
        # compared for equality."
        return hmac.compare_digest(decode_base64(claimed), content_hash(pdu, rules))
    except ValueError:
        return False


def check_content_hash(pdu: Mapping[str, Any], rules: RoomRules) -> None:
    """Raise ContentHashMismatch if the PDU is not what was signed, for example because it is redacted."""
    if not has_valid_content_hash(pdu, rules):
        raise ContentHashMismatch("the content hash does not match the event")


def signed_bytes(pdu: Mapping[str, Any], rules: RoomRules) -> bytes:
    """What servers sign of an event, and what its reference hash covers; raises NotCanonical."""
    redacted = redacted_fields(pdu, rules)
    # "The `signatures`, `age_ts`, and `unsigned` properties are removed": redaction has removed the other
    # two.
    redacted.pop("signatures", None)
    return encode_for_version(redacted, rules)


def reference_hash(pdu: Mapping[str, Any], rules: RoomRules) -> bytes:
    """SHA-256 over the essential fields of an event, the same after redaction; raises NotCanonical."""
    return sha256(signed_bytes(pdu, rules)).digest()


def event_id_of_hash(reference: bytes, rules: RoomRules) -> str:
    """The event ID for a reference hash; raises ValueError if the room version names events otherwise."""
    match rules.event_id_format:
        case EventIdFormat.HASH_URL_SAFE_BASE64:
            return "$" + encode_base64_url_safe(reference)
        case EventIdFormat.HASH_BASE64:
            return "$" + encode_base64(reference)
        case EventIdFormat.LOCALPART_AND_DOMAIN:
            raise ValueError(f"event IDs of room version {rules.version} are not hashes")


def derive_event_id(pdu: Mapping[str, Any], rules: RoomRules) -> str:
    """The event ID of a PDU: its hash, or in room versions 1 and 2 what it says; raises ValueError."""
    if rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN:
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            raise ValueError("event_id is not a string")
        return event_id
    return event_id_of_hash(reference_hash(pdu, rules), rules)


def room_id_of_create(event_id: str) -> str:
    """The room ID that a create event's ID gives, where room IDs are hashes."""
    return "!" + event_id[1:]
