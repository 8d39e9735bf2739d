"""The way out of this process, as an argument: a server gives the real one, tests one without sockets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.transport.address_policy import AddressPolicy
from federation.transport.https import Https, HttpsClient, tcp_endpoints
from federation.transport.names import NameResolver
from federation.transport.system_names import SystemNames, resolv_conf_resolver
from federation.transport.tls import TlsPolicy
from synapse_like_config.federation import FederationSection


@dataclass(frozen=True, slots=True)
class Network:
    """HTTPS requests to a known place, and DNS."""

    https: Https
    names: NameResolver
    sites: Mapping[str, Https] = field(default_factory=dict)
    """By name, the ways to the other sites of the organisation."""


def make_network(reactor: Any, config: FederationSection) -> Network:
    """The real network, within the address ranges and with the TLS settings of the configuration.

    Raises OSError or ValueError if a file of `federation_custom_ca_list` cannot be used.
    """
    names = SystemNames(reactor, resolv_conf_resolver)
    tls = TlsPolicy(
        config.federation_custom_ca_list,
        config.federation_client_minimum_tls_version,
        verify=config.federation_verify_certificates,
        unverified_names=config.federation_certificate_verification_whitelist,
    )
    addresses = AddressPolicy(config.ip_range_blacklist, config.ip_range_whitelist)
    return Network(HttpsClient(reactor, tcp_endpoints(reactor), names, addresses, tls), names)
