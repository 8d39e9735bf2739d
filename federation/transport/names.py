"""What DNS is asked for, and the answers."""

from collections.abc import Sequence
from typing import Protocol

from federation.transport.address_policy import IPAddress
from synapse_like_config.lazy_dataclasses import dataclass


class LookupFailed(Exception):
    """DNS gave no answer at all, which is not the same as the answer that there is nothing."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """An SRV record. `target` of "" says that the service is decidedly not there."""

    priority: int
    weight: int
    port: int
    target: str
    ttl_s: int


class NameResolver(Protocol):
    async def find_addresses(self, host: str) -> Sequence[IPAddress]:
        """AAAA and A records, in the order to try them; empty if the name has none."""

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        """SRV records; empty if the name has none. Raises `LookupFailed`."""
