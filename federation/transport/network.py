"""The way out of this process, as an argument: a server gives the real one, tests one without sockets."""

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from federation.sites.site_tls import SiteTls
from federation.transport.address_policy import AddressPolicy
from federation.transport.https import Https, Tls
from federation.transport.late_https import LateHttps
from federation.transport.names import NameResolver
from federation.transport.system_names import SystemNames, resolv_conf_services
from federation.transport.tls import TlsPolicy
from synapse_like_config.federation import FederationSection
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.sites import SitePeer, SitesConfig


def _nowhere(config: SitesConfig, peer: SitePeer) -> Https:
    raise ValueError("this network leads to no other site")


@dataclass(frozen=True, slots=True)
class Network:
    """HTTPS requests to a known place, and DNS."""

    https: Https
    names: NameResolver
    connect_site: Callable[[SitesConfig, SitePeer], Https] = _nowhere
    """The way to another site of the organisation (`federation.sites.site_peers.ConnectSite`)."""


class _ClientModule(Protocol):
    """What `https_client.py` offers."""

    def tcp_client(self, reactor: Any, names: NameResolver, addresses: AddressPolicy, tls: Tls) -> Https: ...


def _tcp_client(reactor: Any, names: NameResolver, addresses: AddressPolicy, tls: Tls) -> Https:
    # Loaded when the first request is made: twisted's client and its endpoints take two megabytes, and a server that
    # meets no others asks nobody.
    module = cast(_ClientModule, importlib.import_module("federation.transport.https_client"))
    return module.tcp_client(reactor, names, addresses, tls)


def make_network(reactor: Any, config: FederationSection) -> Network:
    """The real network, within the address ranges and with the TLS settings of the configuration.

    Raises OSError or ValueError if a file of `federation_custom_ca_list` cannot be used.
    """
    names = SystemNames(reactor, resolv_conf_services)
    tls = TlsPolicy(
        config.federation_custom_ca_list,
        config.federation_client_minimum_tls_version,
        verify=config.federation_verify_certificates,
        unverified_names=config.federation_certificate_verification_whitelist,
    )
    addresses = AddressPolicy(config.ip_range_blacklist, config.ip_range_whitelist)
    https = LateHttps(lambda: _tcp_client(reactor, names, addresses, tls))

    def connect_site(sites: SitesConfig, peer: SitePeer) -> Https:
        assert sites.certificate_path is not None and sites.private_key_path is not None
        connections = SiteTls(sites.certificate_path, sites.private_key_path).client(peer.read_certificate())
        # Peers are named by the operator: they may be at any address.
        return _tcp_client(reactor, names, AddressPolicy((), ()), connections)

    return Network(https, names, connect_site)
