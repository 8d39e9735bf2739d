"""Keys of users of other servers."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Protocol

from synapse_like_config.lazy_dataclasses import dataclass

Failures = Mapping[str, Mapping[str, Any]]
"""By server name: why it gave no answer, as `errcode` and `error`."""


@dataclass(frozen=True, slots=True)
class UserKeys:
    """What /keys/query tells of one user: canonical JSON, by device ID."""

    devices: Mapping[str, bytes]
    master: bytes | None = None
    self_signing: bytes | None = None


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """Keys by user ID, and the servers that could not be asked."""

    users: Mapping[str, UserKeys]
    failures: Failures = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownKeys:
    """The answer to a query: JSON by user ID, devices as one object for each user."""

    device_keys: Mapping[str, bytes]
    master_keys: Mapping[str, bytes]
    self_signing_keys: Mapping[str, bytes]
    user_signing_keys: Mapping[str, bytes]
    failures: Failures


@dataclass(frozen=True, slots=True)
class ClaimedKeys:
    """By user and device: the key's name and canonical JSON. And the servers that could not be asked."""

    users: Mapping[str, Mapping[str, Mapping[str, bytes]]]
    failures: Failures = field(default_factory=dict)


class RemoteKeys(Protocol):
    """Asks other servers."""

    async def query(self, users: Mapping[str, tuple[str, ...]], timeout_ms: int) -> FoundKeys:
        """Devices by user ID; no device means all. Never raises for a server that does not answer."""

    async def claim(self, users: Mapping[str, Mapping[str, str]], timeout_ms: int) -> ClaimedKeys:
        """Algorithms by user ID and device ID. Never raises for a server that does not answer."""
