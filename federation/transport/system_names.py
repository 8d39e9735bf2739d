"""DNS as the operating system knows it: the reactor's resolver for addresses, `service_records.py` for SRV."""

import importlib
import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from federation.transport.address_policy import IPAddress
from federation.transport.names import ServiceRecord


class FindServices(Protocol):
    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        """As of `NameResolver`."""


class _ServicesModule(Protocol):
    """What `service_records.py` offers."""

    def resolv_conf_services(self, reactor: Any) -> FindServices: ...


def resolv_conf_services(reactor: Any) -> FindServices:
    """Asks the servers of /etc/resolv.conf, and watches that file from then on."""
    # Loaded when the first is looked up: twisted.names takes half a megabyte, and a server that meets no others, or
    # finds them by their well-known documents, never asks for services.
    module = cast(_ServicesModule, importlib.import_module("federation.transport.service_records"))
    return module.resolv_conf_services(reactor)


@implementer(IResolutionReceiver)
class _Addresses:
    def __init__(self) -> None:
        self.found: list[IPAddress] = []
        self.done: Deferred[None] = Deferred()

    def resolutionBegan(self, resolution_in_progress: IHostResolution) -> None:  # noqa: N802
        return

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        if isinstance(address, (IPv4Address, IPv6Address)):
            # A scope ("fe80::1%eth0") is not part of an address that DNS can give.
            self.found.append(ipaddress.ip_address(address.host.partition("%")[0]))

    def resolutionComplete(self) -> None:  # noqa: N802
        if not self.done.called:
            self.done.callback(None)


class SystemNames:
    """`NameResolver` of a real reactor. `make_services` is called when services are first asked for."""

    def __init__(self, reactor: Any, make_services: Callable[[Any], FindServices]) -> None:
        self._reactor = reactor
        self._make_services = make_services
        self._services: FindServices | None = None

    async def find_addresses(self, host: str) -> Sequence[IPAddress]:
        addresses = _Addresses()
        self._reactor.nameResolver.resolveHostName(
            addresses, host, 0, [IPv6Address, IPv4Address], transportSemantics="TCP"
        )
        await addresses.done
        return tuple(dict.fromkeys(addresses.found))

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        if self._services is None:
            self._services = self._make_services(self._reactor)
        return await self._services.find_services(name)
