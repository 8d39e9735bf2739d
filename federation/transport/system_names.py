"""DNS as the operating system knows it: the reactor's resolver for addresses, twisted.names for SRV."""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.names import client, dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DomainError
from zope.interface import implementer

from federation.transport.address_policy import IPAddress
from federation.transport.names import LookupFailed, ServiceRecord

RETRY_TIMEOUTS_S = (1, 3, 6)


def resolv_conf_resolver(reactor: Any) -> Any:
    """Asks the servers of /etc/resolv.conf, and watches that file from then on."""
    return client.Resolver(resolv="/etc/resolv.conf", reactor=reactor)


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
    """`NameResolver` of a real reactor. `make_resolver` makes twisted.names' IResolver when it is first needed."""

    def __init__(self, reactor: Any, make_resolver: Callable[[Any], Any]) -> None:
        self._reactor = reactor
        self._make_resolver = make_resolver
        self._services: Any = None

    async def find_addresses(self, host: str) -> Sequence[IPAddress]:
        addresses = _Addresses()
        self._reactor.nameResolver.resolveHostName(
            addresses, host, 0, [IPv6Address, IPv4Address], transportSemantics="TCP"
        )
        await addresses.done
        return tuple(dict.fromkeys(addresses.found))

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        if self._services is None:
            self._services = self._make_resolver(self._reactor)
        try:
            answers, _, _ = await self._services.lookupService(name, timeout=RETRY_TIMEOUTS_S)
        except DNSNameError:
            return ()
        except CancelledError:
            raise
        except (DomainError, DNSQueryTimeoutError, DNSLookupError, OSError, ValueError) as error:
            raise LookupFailed(f"{name}: {type(error).__name__}") from error
        return [
            ServiceRecord(
                record.payload.priority,
                record.payload.weight,
                record.payload.port,
                record.payload.target.name.decode("ascii", "replace").rstrip("."),
                record.ttl,
            )
            for record in answers
            if record.type == dns.SRV
        ]
