"""Keys of other servers' users: pure checks that turn what their servers say into what is stored."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from federation.room_dag.canonical_json import NotCanonical, encode_canonical
from federation.room_dag.signing import InvalidSignature, verify_signature
from popcube_server.services.edus.edu_content import BadEdu, get_int, get_string
from popcube_server.services.errors import Refusal
from popcube_server.services.keys.checked_keys import ED25519, check_cross_signing_key, decode_key
from storage.cross_signing import MASTER, SELF_SIGNING, CrossSigningKey
from storage.remote_devices import RemoteDevice
from synapse_like_config.lazy_dataclasses import dataclass

MAX_DEVICES: Final = 1_000
"""Of one user: of more, the rest is not known here."""
MAX_DEVICE_BYTES: Final = 64 * 1024
MAX_DISPLAY_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class RemoteIdentity:
    """Everything that a server says about the keys of one of its users."""

    stream_id: int
    devices: tuple[RemoteDevice, ...]
    cross_signing: tuple[CrossSigningKey, ...]


def read_identity(user_id: str, answer: Mapping[str, Any]) -> RemoteIdentity:
    """The answer of /user/devices. Raises `BadEdu`; a single device that is not as it must be is left out."""
    devices = answer.get("devices")
    if answer.get("user_id") != user_id or not isinstance(devices, list):
        raise BadEdu("this is no device list of that user")
    read = []
    for device in devices[:MAX_DEVICES]:
        try:
            read.append(_read_listed(user_id, device))
        except BadEdu:
            continue
    found = tuple(device for device in read if device is not None)
    return RemoteIdentity(get_int(answer, "stream_id"), found, read_cross_signing(user_id, answer))


def _read_listed(user_id: str, device: Any) -> RemoteDevice | None:
    if not isinstance(device, dict):
        raise BadEdu("a device must be an object")
    device_id = get_string(device, "device_id")
    json = read_device(user_id, device_id, device.get("keys"), device.get("device_display_name"))
    return None if json is None else RemoteDevice(device_id, json)


def read_device(user_id: str, device_id: str, keys: Any, display_name: Any) -> bytes | None:
    """JSON to store; None for a device without keys. Clients check the signatures. Raises `BadEdu`."""
    if keys is None:
        return None
    if not isinstance(keys, dict) or keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise BadEdu("the keys are not those of the device")
    if not isinstance(keys.get("keys"), dict) or not isinstance(keys.get("algorithms"), list):
        raise BadEdu("the keys are not identity keys")
    kept = {key: value for key, value in keys.items() if key != "unsigned"}
    if isinstance(display_name, str):
        kept["unsigned"] = {"device_display_name": display_name[:MAX_DISPLAY_NAME]}
    return _canonical(kept)


def read_cross_signing(user_id: str, content: Mapping[str, Any]) -> tuple[CrossSigningKey, ...]:
    """`master_key` and `self_signing_key`, as far as they are there. Raises `BadEdu`."""
    found = []
    for name, usage in (("master_key", MASTER), ("self_signing_key", SELF_SIGNING)):
        key = content.get(name)
        if key is None:
            continue
        if not isinstance(key, dict):
            raise BadEdu(f"'{name}' must be an object")
        try:
            found.append(check_cross_signing_key(key, user_id, usage))
        except Refusal as error:
            raise BadEdu(error.message) from None
    _check_signed_by_master(user_id, found)
    return tuple(found)


def _check_signed_by_master(user_id: str, keys: list[CrossSigningKey]) -> None:
    by_usage = {key.usage: key for key in keys}
    master, self_signing = by_usage.get(MASTER), by_usage.get(SELF_SIGNING)
    if master is None or self_signing is None:
        return
    try:
        verify_signature(
            orjson.loads(self_signing.json),
            user_id,
            ED25519 + master.public_key,
            decode_key(master.public_key),
        )
    except InvalidSignature as error:
        raise BadEdu(f"the self-signing key: {error}") from None


def _canonical(value: Mapping[str, Any]) -> bytes:
    try:
        json = encode_canonical(value)
    except NotCanonical as error:
        raise BadEdu(str(error)) from None
    if len(json) > MAX_DEVICE_BYTES:
        raise BadEdu(f"the keys of a device may have at most {MAX_DEVICE_BYTES} bytes")
    return json
