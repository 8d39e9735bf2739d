"""Keys as clients upload them: pure checks that turn JSON into what is stored."""

from collections.abc import Mapping
from typing import Any

from federation.room_dag.base64 import decode_base64
from federation.room_dag.canonical_json import NotCanonical, encode_canonical
from federation.room_dag.signing import InvalidSignature, verify_signature
from popcube_server.services.errors import BadJson, InvalidParam, WithCode
from storage.cross_signing import CrossSigningKey
from storage.one_time_keys import OneTimeKey

MAX_NAME_BYTES = 255
MAX_DEVICE_KEYS_BYTES = 64 * 1024
MAX_CROSS_SIGNING_KEY_BYTES = 64 * 1024
MAX_ONE_TIME_KEY_BYTES = 8 * 1024
ED25519 = "ed25519:"


def invalid_signature(message: str) -> WithCode:
    """What a wrong or missing signature is answered with."""
    return WithCode(400, "M_INVALID_SIGNATURE", message)


def check_device_keys(keys: Mapping[str, Any], user_id: str, device_id: str) -> bytes:
    """The canonical JSON to store. Raises `InvalidParam`, `BadJson` or M_INVALID_SIGNATURE."""
    # "Must match the user ID used when logging in.", "Must match the device ID used when logging in."
    if keys.get("user_id") != user_id:
        raise InvalidParam("'user_id' of the device keys is not the user that is logged in.")
    if keys.get("device_id") != device_id:
        raise InvalidParam("'device_id' of the device keys is not the device that is logged in.")
    algorithms, public_keys = keys.get("algorithms"), keys.get("keys")
    if not isinstance(algorithms, list) or not all(isinstance(name, str) for name in algorithms):
        raise BadJson("'algorithms' of the device keys must be a list of strings.")
    if not isinstance(public_keys, dict) or not all(isinstance(key, str) for key in public_keys.values()):
        raise BadJson("'keys' of the device keys must be an object of strings.")
    signing_key_id = ED25519 + device_id
    # "The JSON object must include the public part of the device's Ed25519 key, and must be signed by that key"
    if signing_key_id not in public_keys:
        raise BadJson(f"'keys' of the device keys must contain '{signing_key_id}'.")
    try:
        verify_signature(keys, user_id, signing_key_id, decode_key(public_keys[signing_key_id]))
    except InvalidSignature as error:
        raise invalid_signature(f"The device keys: {error}.") from None
    return _canonical(with_own_signatures(keys, user_id), "The device keys", MAX_DEVICE_KEYS_BYTES)


def check_one_time_keys(keys: Mapping[str, Any]) -> tuple[OneTimeKey, ...]:
    """Keys by `algorithm:key_id`. Raises `BadJson` or `InvalidParam`."""
    return tuple(_one_time_key(name, key) for name, key in keys.items())


def check_fallback_keys(keys: Mapping[str, Any]) -> tuple[OneTimeKey, ...]:
    """As `check_one_time_keys`; a second key of one algorithm is refused."""
    checked = check_one_time_keys(keys)
    # "There can only be at most one key per algorithm uploaded"
    if len({key.algorithm for key in checked}) < len(checked):
        raise InvalidParam("There can be only one fallback key for each algorithm.")
    return checked


def _one_time_key(name: str, key: Any) -> OneTimeKey:
    algorithm, _, key_id = name.partition(":")
    if not algorithm or not key_id or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidParam("One-time keys must be named 'algorithm:key_id', with at most 255 bytes.")
    if isinstance(key, dict):
        if not isinstance(key.get("key"), str) or not isinstance(key.get("signatures"), dict):
            raise BadJson(f"The one-time key '{name}' must have a 'key' and 'signatures'.")
    elif not isinstance(key, str):
        raise BadJson(f"The one-time key '{name}' must be a string or an object.")
    return OneTimeKey(
        algorithm, key_id, _canonical(key, f"The one-time key '{name}'", MAX_ONE_TIME_KEY_BYTES)
    )


def check_cross_signing_key(key: Mapping[str, Any], user_id: str, usage: str) -> CrossSigningKey:
    """One key of a user, its signatures not looked at. Raises `InvalidParam` or `BadJson`."""
    if key.get("user_id") != user_id:
        raise InvalidParam(f"'user_id' of the {usage} key is not the user that is logged in.")
    usages, public_keys = key.get("usage"), key.get("keys")
    if not isinstance(usages, list) or usage not in usages:
        raise InvalidParam(f"'usage' of the {usage} key must contain '{usage}'.")
    # "The object must have exactly one property, whose name is in the form `<algorithm>:<unpadded_base64_public_key>`,
    # and whose value is the unpadded base64 public key."
    if not isinstance(public_keys, dict) or len(public_keys) != 1:
        raise InvalidParam(f"The {usage} key must have exactly one entry in 'keys'.")
    name, public_key = next(iter(public_keys.items()))
    if not isinstance(public_key, str) or name != ED25519 + public_key or len(decode_key(public_key)) != 32:
        raise InvalidParam(f"The {usage} key must be an Ed25519 key, named '{ED25519}' and itself.")
    stored = with_own_signatures(key, user_id)
    return CrossSigningKey(
        usage, public_key, _canonical(stored, f"The {usage} key", MAX_CROSS_SIGNING_KEY_BYTES)
    )


def decode_key(text: str) -> bytes:
    """A public key in Base64; empty, which verifies nothing, if it is none."""
    try:
        return decode_base64(text)
    except ValueError:
        return b""


def with_own_signatures(key: Mapping[str, Any], user_id: str) -> dict[str, Any]:
    """Without `unsigned`, and with the owner's signatures only: what others signed has a way of its own."""
    signatures = key.get("signatures")
    own = signatures.get(user_id) if isinstance(signatures, dict) else None
    stored = {name: value for name, value in key.items() if name not in ("signatures", "unsigned")}
    if isinstance(own, dict):
        if not all(isinstance(signature, str) for signature in own.values()):
            raise BadJson("Signatures must be strings.")
        stored["signatures"] = {user_id: own}
    return stored


def _canonical(value: Any, what: str, max_bytes: int) -> bytes:
    try:
        json = encode_canonical(value)
    except NotCanonical as error:
        raise BadJson(f"{what}: {error}.") from None
    if len(json) > max_bytes:
        raise InvalidParam(f"{what} may have at most {max_bytes} bytes.")
    return json
