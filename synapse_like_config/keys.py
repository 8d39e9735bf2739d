"""The keys that sign events and requests, and whom to ask for the keys of others."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import kind
from synapse_like_config.values import Plain, Value


@dataclass(frozen=True)
class SigningKey:
    """One line of a signing key file. The key ID is `ed25519:<version>`."""

    version: str
    seed: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        return f"ed25519:{self.version}"


@dataclass(frozen=True)
class OldSigningKey:
    """A public key that signed in the past."""

    key_id: str
    verify_key: bytes
    expired_ts: int


@dataclass(frozen=True)
class TrustedKeyServer:
    """A server that is asked for other servers' keys."""

    server_name: str = options.required_string()
    verify_keys: Mapping[str, Plain] = options.plain_mapping()
    accept_keys_insecurely: bool = options.boolean(False)


def parse_signing_keys(text: str) -> tuple[SigningKey, ...]:
    """Synapse's file format: one key a line, `ed25519 <version> <unpadded base64 of 32 bytes>`. Raises WrongValue."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words = line.split()
        if len(words) != 3 or words[0] != "ed25519" or not re.fullmatch(r"[A-Za-z0-9_]+", words[1]):
            raise WrongValue(f"signing key {number} is not written as `ed25519 <version> <key>`")
        keys.append(SigningKey(words[1], decode_key(words[2], f"signing key {number}")))
    if not keys:
        raise WrongValue("holds no signing key")
    return tuple(keys)


def decode_key(text: str, what: str) -> bytes:
    """32 bytes from base64, padded or not. Raises WrongValue."""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise WrongValue(f"{what} is not base64") from None
    if len(key) != 32:
        raise WrongValue(f"{what} has {len(key)} bytes, not 32")
    return key


def _parse_old_signing_keys(value: Value) -> tuple[OldSigningKey, ...]:
    mapping = value.mapping()
    if mapping is None:
        raise WrongValue(f"must be a mapping, not {kind(value)}")
    keys = []
    for key_id, item in mapping.items():
        entry = item.mapping() or {}
        if not re.fullmatch(r"ed25519:[A-Za-z0-9_]+", key_id) or not {"key", "expired_ts"} <= entry.keys():
            raise WrongValue(f'{key_id[:60]!r} must look like `"ed25519:id": {{key: ..., expired_ts: ...}}`')
        expired_ts = entry["expired_ts"].data
        if isinstance(expired_ts, bool) or not isinstance(expired_ts, int) or expired_ts < 0:
            raise WrongValue(f"expired_ts of {key_id} must be milliseconds since 1970")
        keys.append(OldSigningKey(key_id, decode_key(entry["key"].text, key_id), expired_ts))
    return tuple(keys)


@dataclass(frozen=True)
class KeysSection:
    """`signing_keys` comes from `signing_key` or the file; the first one signs, all are published."""

    signing_key: str | None = options.optional_secret()
    signing_key_path: Path | None = options.optional_path()
    old_signing_keys: tuple[OldSigningKey, ...] = options.custom((), _parse_old_signing_keys)
    key_refresh_interval_ms: int = options.duration_ms("1d", 60_000)
    trusted_key_servers: tuple[TrustedKeyServer, ...] = options.sections(
        TrustedKeyServer, TrustedKeyServer(server_name="matrix.org")
    )
    suppress_key_server_warning: bool = options.boolean(False)
    signing_keys: tuple[SigningKey, ...] = ()
