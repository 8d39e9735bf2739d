"""Which addresses requests may go to: a stranger's name must not lead one into our own network."""

import ipaddress
from collections.abc import Iterator, Sequence

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")


class AddressPolicy:
    """`ip_range_blacklist`, with `ip_range_whitelist` as exceptions from it."""

    def __init__(self, refused: Sequence[IPNetwork], excepted: Sequence[IPNetwork]) -> None:
        self._refused = tuple(refused)
        self._excepted = tuple(excepted)

    def is_allowed(self, address: IPAddress) -> bool:
        """Whether a connection to this very address may be made."""
        return all(self._is_form_allowed(form) for form in _forms(address))

    def _is_form_allowed(self, address: IPAddress) -> bool:
        if any(address in network for network in self._excepted):
            return True
        if any(address in network for network in self._refused):
            return False
        # The unspecified address leads to this machine, so it is as much refused as the loopback addresses are.
        return not (self._refused and (address.is_unspecified or address in _THIS_NETWORK))


def _forms(address: IPAddress) -> Iterator[IPAddress]:
    """The address, and the IPv4 address that a translator would make of it."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        # The kernel connects to the IPv4 address itself.
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
