"""Names and addresses of a request: the host it is for, where it comes from.

What a proxy says counts only if it is one of ours.
"""

import ipaddress

from twisted.web.http import Request

from popcube_server.rest.front_door.door import FrontDoor, IPAddress


def host_of(request: Request) -> str:
    """The Host header without port, lower case."""
    header = request.requestHeaders.getRawHeaders(b"Host") or [b""]
    host = header[0].decode("latin-1").lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def client_address(request: Request, door: FrontDoor) -> str:
    """The client's IP address; empty if there is none, on a Unix socket."""
    # A Unix socket has no address: whoever may open it is our proxy.
    peer = getattr(request.getClientAddress(), "host", "") or ""
    if not door.x_forwarded or (peer and not door.is_trusted_proxy(_ip_address(peer))):
        return str(peer)
    header = request.requestHeaders.getRawHeaders(b"X-Forwarded-For")
    if not header:
        return str(peer)
    # The proxy appends the address that it saw: the last one is the only one that a client cannot make up.
    text = header[-1].decode("latin-1").rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return str(peer)


def _ip_address(peer: str) -> IPAddress:
    address = ipaddress.ip_address(peer.partition("%")[0])
    # What a socket for both families calls an IPv4 address.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
