"""Requests of the command line to a site's listener."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from federation.sites.site_client import SiteClient
from federation.sites.site_tls import SiteTls
from federation.transport.address_policy import AddressPolicy
from federation.transport.errors import FederationError
from federation.transport.https_client import tcp_client
from federation.transport.system_names import SystemNames, resolv_conf_services
from popcube_server.app import make_signer, process_reactor
from popcube_server.commands.site_errors import SiteCommandFailed
from synapse_like_config.config import ServerConfig
from synapse_like_config.sites import SitesConfig

T = TypeVar("T")

_LOOPBACK = {"::": "::1", "0.0.0.0": "127.0.0.1"}  # noqa: S104


def sites_section(config: ServerConfig) -> SitesConfig:
    """Raises `SiteCommandFailed` if there is none."""
    if config.sites is None:
        raise SiteCommandFailed("The configuration has no `sites:` section: see `popcube-server site init`.")
    return config.sites


def call(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run the reactor for as long as `work(reactor)` takes. Once per process. Raises `SiteCommandFailed`."""
    reactor = process_reactor()
    results: list[T] = []
    failures: list[Failure] = []

    def begin() -> None:
        Deferred.fromCoroutine(work(reactor)).addCallbacks(results.append, failures.append).addBoth(
            lambda _: reactor.stop()
        )

    reactor.callWhenRunning(begin)
    reactor.run()
    if failures:
        error = failures[0].value
        if isinstance(error, FederationError):
            raise SiteCommandFailed(str(error)) from error
        raise cast(Exception, error)
    if not results:
        raise SiteCommandFailed("Interrupted.")
    return results[0]


def peer_client(config: ServerConfig, name: str, reactor: Any) -> SiteClient:
    """To a peer of the configuration. Raises `SiteCommandFailed`."""
    sites = sites_section(config)
    for peer in sites.peers:
        if peer.name == name:
            return _client(config, peer.name, peer.url, peer.read_certificate(), reactor)
    raise SiteCommandFailed(f"The configuration names no peer site {name!r}.")


def own_client(config: ServerConfig, reactor: Any) -> SiteClient:
    """To this very site, if its server runs."""
    sites = sites_section(config)
    assert sites.certificate_path is not None
    host = _LOOPBACK.get(sites.addresses[-1], sites.addresses[-1])
    shown = f"[{host}]" if ":" in host else host
    url = f"https://{shown}:{sites.port}"
    return _client(config, sites.name, url, sites.certificate_path.read_bytes(), reactor)


def _client(config: ServerConfig, name: str, url: str, certificate: bytes, reactor: Any) -> SiteClient:
    sites = sites_section(config)
    assert sites.certificate_path is not None and sites.private_key_path is not None
    tls = SiteTls(sites.certificate_path, sites.private_key_path).client(certificate)
    names = SystemNames(reactor, resolv_conf_services)
    https = tcp_client(reactor, names, AddressPolicy((), ()), tls)
    return SiteClient(name, url, make_signer(config), https)
