"""Talking to other servers, and where no request may go."""

import ipaddress
from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import IPNetwork

# Private, local, reserved and multicast ranges: a stranger's name must not lead a request there.
DEFAULT_IP_RANGE_BLACKLIST = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "169.254.0.0/16",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
        "2001:db8::/32",
        "ff00::/8",
        "fec0::/10",
    )
)


@dataclass(frozen=True)
class FederationRetries:
    """Timeouts and retries: short ones while somebody waits, long ones in the background."""

    client_timeout_ms: int = options.duration_ms("60s", 1)
    max_short_retry_delay_ms: int = options.duration_ms("2s")
    max_long_retry_delay_ms: int = options.duration_ms("60s")
    max_short_retries: int = options.integer(3, 0)
    max_long_retries: int = options.integer(10, 0)
    destination_min_retry_interval_ms: int = options.duration_ms("10m", 1)
    destination_retry_multiplier: float = options.number(2, 1)
    destination_max_retry_interval_ms: int = options.duration_ms("1w", 1)


@dataclass(frozen=True)
class FederationSection:
    """`federation_domain_whitelist` of None is everybody. The address ranges hold for push and previews too."""

    federation: FederationRetries = options.nested(FederationRetries())
    federation_domain_whitelist: tuple[str, ...] | None = options.optional_strings()
    federation_verify_certificates: bool = options.boolean(True)
    federation_certificate_verification_whitelist: tuple[str, ...] = options.strings()
    federation_client_minimum_tls_version: str = options.choice("1.2", ("1", "1.0", "1.1", "1.2", "1.3"))
    federation_custom_ca_list: tuple[Path, ...] = options.paths()
    ip_range_blacklist: tuple[IPNetwork, ...] = options.networks(*DEFAULT_IP_RANGE_BLACKLIST)
    ip_range_whitelist: tuple[IPNetwork, ...] = options.networks()
