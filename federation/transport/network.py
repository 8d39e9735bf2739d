"""The way out of this process, as an argument: a server gives the real one, tests one without sockets."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from federation.sites.site_tls import SiteTls
from federation.transport.address_policy import AddressPolicy
from federation.transport.https import Https, HttpsClient, tcp_endpoints
from federation.transport.names import NameResolver
from federation.transport.system_names import SystemNames, resolv_conf_resolver
from federation.transport.tls import TlsPolicy
from lazy_dataclasses.decorator import dataclass
from synapse_like_config.federation import FederationSection
from synapse_like_config.sites import SitesConfig


@dataclass(frozen=True, slots=True)
class Network:
    """HTTPS requests to a known place, and DNS."""

    https: Https
    names: NameResolver
    sites: Mapping[str, Https] = field(default_factory=dict)
    """By name, the ways to the other sites of the organisation."""


def make_network(reactor: Any, config: FederationSection, sites: SitesConfig | None = None) -> Network:
    """The real network, within the address ranges and with the TLS settings of the configuration.

    Raises OSError or ValueError if a file of `federation_custom_ca_list` or of `sites` cannot be used.
    """
    names = SystemNames(reactor, resolv_conf_resolver)
    tls = TlsPolicy(
        config.federation_custom_ca_list,
        config.federation_client_minimum_tls_version,
        verify=config.federation_verify_certificates,
        unverified_names=config.federation_certificate_verification_whitelist,
    )
    addresses = AddressPolicy(config.ip_range_blacklist, config.ip_range_whitelist)
    https = HttpsClient(reactor, tcp_endpoints(reactor), names, addresses, tls)
    return Network(https, names, {} if sites is None else _site_clients(reactor, names, sites))


def _site_clients(reactor: Any, names: NameResolver, sites: SitesConfig) -> Mapping[str, Https]:
    assert sites.certificate_path is not None and sites.private_key_path is not None
    tls = SiteTls(sites.certificate_path, sites.private_key_path)
    # Peers are named by the operator: they may be at any address.
    anywhere = AddressPolicy((), ())
    clients: dict[str, Https] = {}
    for peer in sites.peers:
        connections = tls.client(peer.read_certificate())
        clients[peer.name] = HttpsClient(reactor, tcp_endpoints(reactor), names, anywhere, connections)
    return clients
