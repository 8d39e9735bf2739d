"""A server's published keys: reading and checking the document that `/_matrix/key/v2/server` gives.

Source: server-server API, "Retrieving server keys".
"""

from collections.abc import Iterable, Mapping
from typing import Any

from federation.room_dag.base64 import decode_base64
from federation.room_dag.canonical_json import MAX_INTEGER, NotCanonical, encode_lenient
from federation.room_dag.signing import InvalidSignature, find_signature, json_signed_bytes, verify_bytes
from synapse_like_config.lazy_dataclasses import dataclass

MAX_KEYS = 100
MAX_KEY_ID_CHARS = 128
MAX_VALIDITY_MS = 7 * 24 * 3600 * 1000
"""A document does not speak for a longer time than this from when it was fetched."""


class InvalidKeyDocument(ValueError):
    """A key document is malformed, of another server, or not signed as it must be."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key (32 bytes). A signature counts if it was made at `valid_until_ms` or before.

    `is_old`: out of use. It verifies events from before, and no requests.
    """

    key_id: str
    key: bytes
    valid_until_ms: int
    is_old: bool

    def is_valid_at(self, time_ms: int) -> bool:
        return time_ms <= self.valid_until_ms


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """A checked document. `document` is its JSON with its own server's signatures only."""

    server_name: str
    keys: tuple[VerifyKey, ...]
    valid_until_ms: int
    fetched_at_ms: int
    document: bytes


def parse_server_keys(value: Any, server_name: str, fetched_at_ms: int) -> ServerKeys:
    """Check a document that is said to be of `server_name`; raises InvalidKeyDocument."""
    if not isinstance(value, dict) or value.get("server_name") != server_name:
        raise InvalidKeyDocument(f"not the keys of {server_name}")
    valid_until_ms = _timestamp(value, "valid_until_ts")
    # "Servers MUST use the lesser of this field and 7 days into the future when determining if a key is valid."
    valid_until_ms = min(valid_until_ms, fetched_at_ms + MAX_VALIDITY_MS)
    current = [
        VerifyKey(key_id, key, valid_until_ms, False)
        for key_id, key, _ in _read_keys(value, "verify_keys", required=True)
    ]
    current_ids = {key.key_id for key in current}
    old = [
        VerifyKey(key_id, key, _timestamp(entry, "expired_ts"), True)
        for key_id, key, entry in _read_keys(value, "old_verify_keys", required=False)
        if key_id not in current_ids
    ]
    _check_own_signatures(value, server_name, current)
    return ServerKeys(
        server_name, (*current, *old), valid_until_ms, fetched_at_ms, _own_document(value, server_name)
    )


def _read_keys(
    value: Mapping[str, Any], name: str, *, required: bool
) -> Iterable[tuple[str, bytes, Mapping[str, Any]]]:
    entries = value.get(name, None if required else {})
    if not isinstance(entries, dict):
        raise InvalidKeyDocument(f"{name} is not an object")
    if len(entries) > MAX_KEYS:
        raise InvalidKeyDocument(f"{name} has more than {MAX_KEYS} keys")
    for key_id, entry in entries.items():
        # Keys of other algorithms may be there one day; they are of no use to us.
        if not is_usable_key_id(key_id):
            continue
        text = entry.get("key") if isinstance(entry, dict) else None
        if not isinstance(text, str):
            raise InvalidKeyDocument(f"{name} has an entry without a key")
        try:
            key = decode_base64(text)
        except ValueError:
            raise InvalidKeyDocument("a key is not Base64") from None
        if len(key) != 32:
            raise InvalidKeyDocument("a key has not 32 bytes")
        yield key_id, key, entry


def is_usable_key_id(key_id: str) -> bool:
    """Whether a key of this name can be known here: of the one algorithm that there is, and of sane length."""
    return (
        key_id.startswith("ed25519:")
        and len(key_id) <= MAX_KEY_ID_CHARS
        and key_id.isascii()
        and key_id.isprintable()
    )


def _timestamp(value: Mapping[str, Any], name: str) -> int:
    timestamp = value.get(name)
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 <= timestamp <= MAX_INTEGER:
        raise InvalidKeyDocument(f"{name} is not a timestamp")
    return timestamp


def _check_own_signatures(value: Mapping[str, Any], server_name: str, keys: Iterable[VerifyKey]) -> None:
    """Every signature by a listed key must be right, and there must be one."""
    try:
        message = json_signed_bytes(value)
    except NotCanonical as error:
        raise InvalidKeyDocument(f"not canonical JSON: {error}") from None
    is_signed = False
    for key in keys:
        signature = find_signature(value, server_name, key.key_id)
        if signature is None:
            continue
        try:
            verify_bytes(message, signature, key.key)
        except InvalidSignature as error:
            raise InvalidKeyDocument(f"{key.key_id}: {error}") from None
        is_signed = True
    if not is_signed:
        raise InvalidKeyDocument("not signed by any of its keys")


def _own_document(value: Mapping[str, Any], server_name: str) -> bytes:
    bare = {key: item for key, item in value.items() if key != "unsigned"}
    return encode_lenient({**bare, "signatures": {server_name: value["signatures"][server_name]}})
