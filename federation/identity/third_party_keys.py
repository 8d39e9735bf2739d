"""The keys of an `m.room.third_party_invite`, and which of them has signed. Pure.

Whether an invite is allowed at all is for the auth rules; here it is about the one key that is to be asked about.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from federation.room_dag.base64 import decode_base64
from federation.room_dag.canonical_json import NotCanonical
from federation.room_dag.signing import InvalidSignature, json_signed_bytes, verify_bytes
from synapse_like_config.lazy_dataclasses import dataclass

MAX_KEYS = 10
MAX_SIGNATURES = 20


@dataclass(frozen=True, slots=True)
class InviteKey:
    """An Ed25519 key in Base64, and where to ask whether it is still valid."""

    public_key: str
    validity_url: str | None


def find_signing_key(signed: Mapping[str, Any], content: Mapping[str, Any]) -> InviteKey | None:
    """The key of an `m.room.third_party_invite` that has signed; None if none has."""
    try:
        message = json_signed_bytes(signed)
    except NotCanonical:
        return None
    signatures = list(islice(_signatures(signed), MAX_SIGNATURES))
    for key in islice(_keys(content), MAX_KEYS + 1):
        try:
            verify_key = decode_base64(key.public_key)
        except ValueError:
            continue
        if any(_verifies(message, signature, verify_key) for signature in signatures):
            return key
    return None


def _keys(content: Mapping[str, Any]) -> Iterator[InviteKey]:
    many = content.get("public_keys")
    for entry in (content, *(many if isinstance(many, list) else ())):
        text = entry.get("public_key") if isinstance(entry, dict) else None
        if isinstance(text, str):
            url = entry.get("key_validity_url")
            # "If this URL is absent, the key must be considered valid indefinitely": what is there and no URL is not.
            yield InviteKey(text, None if url is None else str(url))


def _signatures(signed: Mapping[str, Any]) -> Iterator[str]:
    by_server = signed.get("signatures")
    for keys in by_server.values() if isinstance(by_server, dict) else ():
        for key_id, signature in keys.items() if isinstance(keys, dict) else ():
            if key_id.startswith("ed25519:") and isinstance(signature, str):
                yield signature


def _verifies(message: bytes, signature: str, verify_key: bytes) -> bool:
    try:
        verify_bytes(message, signature, verify_key)
    except InvalidSignature:
        return False
    return True
