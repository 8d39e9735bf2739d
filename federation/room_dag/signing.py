"""Ed25519 signatures over JSON, and the file that keeps a server's signing keys.

Source: appendices, "Signing JSON". The key file is Synapse's: one line ``ed25519 VERSION BASE64_SEED`` per
key.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

from federation.room_dag.base64 import decode_base64, encode_base64
from federation.room_dag.canonical_json import encode_lenient
from synapse_like_config.lazy_dataclasses import dataclass

# Server-server API, "Policy servers": "`ed25519:policy_server` is always used for Ed25519 signatures" of these.
POLICY_KEY_ID: Final = "ed25519:policy_server"

_ALGORITHM: Final = "ed25519"
_VERSION: Final = re.compile(r"[a-zA-Z0-9_]+")


class InvalidSignature(ValueError):
    """A signature is missing, malformed or wrong."""


class InvalidKeyFile(ValueError):
    """A signing key file is not in the expected format."""


@dataclass(frozen=True, slots=True)
class SigningKeyEntry:
    """One key of a key file; `key_id` is like ``ed25519:a_AbCd``."""

    key_id: str
    signing_key: SigningKey


class EventSigner:
    """Signs in the name of one server with one key."""

    __slots__ = ("_signing_key", "key_id", "server_name")

    def __init__(self, server_name: str, key_id: str, signing_key: SigningKey) -> None:
        self.server_name = server_name
        self.key_id = key_id
        self._signing_key = signing_key

    @property
    def verify_key(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(self._signing_key.verify_key)

    @property
    def verify_key_base64(self) -> str:
        """The public key as it is published."""
        return encode_base64(self.verify_key)

    def sign_bytes(self, message: bytes) -> str:
        """The signature in unpadded Base64."""
        return encode_base64(self._signing_key.sign(message).signature)

    def sign_json(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with this server's signature added to ``signatures``; raises NotCanonical.

        Only for JSON that is not an event: events are signed in their redacted form by ``event.build_event``.
        """
        signatures = {name: dict(keys) for name, keys in value.get("signatures", {}).items()}
        signatures.setdefault(self.server_name, {})[self.key_id] = self.sign_bytes(json_signed_bytes(value))
        return {**value, "signatures": signatures}


def json_signed_bytes(value: Mapping[str, Any]) -> bytes:
    """What is signed of a JSON object; raises NotCanonical."""
    # "JSON is signed by encoding the JSON object without `signatures` or keys grouped as `unsigned`"
    return encode_lenient({key: item for key, item in value.items() if key not in ("signatures", "unsigned")})


def find_signature(value: Mapping[str, Any], server_name: str, key_id: str) -> str | None:
    """The signature of an entity with a key, if the object has one."""
    signatures = value.get("signatures")
    of_server = signatures.get(server_name) if isinstance(signatures, Mapping) else None
    signature = of_server.get(key_id) if isinstance(of_server, Mapping) else None
    return signature if isinstance(signature, str) else None


def verify_signature(value: Mapping[str, Any], server_name: str, key_id: str, verify_key: bytes) -> None:
    """Raise InvalidSignature unless the JSON object is signed by this entity with this key (32 bytes).

    For an event use ``verify_bytes`` over ``hashes.signed_bytes``.
    """
    signature = find_signature(value, server_name, key_id)
    if signature is None:
        raise InvalidSignature(f"not signed by {server_name} with {key_id}")
    verify_bytes(json_signed_bytes(value), signature, verify_key)


def verify_bytes(message: bytes, signature: str, verify_key: bytes) -> None:
    """Raise InvalidSignature unless `signature` (Base64) is of `message` by `verify_key` (32 bytes)."""
    try:
        raw = decode_base64(signature)
    except ValueError:
        raise InvalidSignature("the signature is not Base64") from None
    if len(raw) != 64 or len(verify_key) != 32:
        raise InvalidSignature("the signature or key has the wrong length")
    try:
        crypto_sign_open(raw + message, verify_key)
    except CryptoError:
        raise InvalidSignature("the signature is wrong") from None


def generate_key(version: str, seed: bytes) -> SigningKeyEntry:
    """A key from 32 random bytes, named ``ed25519:<version>``."""
    if _VERSION.fullmatch(version) is None:
        raise InvalidKeyFile("a key version may contain only a-z, A-Z, 0-9 and _")
    return SigningKeyEntry(f"{_ALGORITHM}:{version}", SigningKey(seed))


def parse_key_file(text: str) -> tuple[SigningKeyEntry, ...]:
    """The keys of a signing key file, the first of which signs; raises InvalidKeyFile naming the line."""
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            keys.append(_parse_key_line(line, number))
    if not keys:
        raise InvalidKeyFile("the signing key file contains no key")
    return tuple(keys)


def format_key_file(keys: tuple[SigningKeyEntry, ...]) -> str:
    """The text of a signing key file, one line per key."""
    lines = []
    for entry in keys:
        algorithm, _, version = entry.key_id.partition(":")
        lines.append(f"{algorithm} {version} {encode_base64(bytes(entry.signing_key))}\n")
    return "".join(lines)


def _parse_key_line(line: str, number: int) -> SigningKeyEntry:
    parts = line.split()
    if len(parts) != 3:
        raise InvalidKeyFile(f"line {number}: expected an algorithm, a version and a key")
    algorithm, version, seed = parts
    if algorithm != _ALGORITHM:
        raise InvalidKeyFile(f"line {number}: unknown algorithm, expected {_ALGORITHM}")
    try:
        return generate_key(version, decode_base64(seed))
    except (ValueError, TypeError, CryptoError) as error:
        # The message of the error never contains the seed.
        raise InvalidKeyFile(f"line {number}: {error}") from None
