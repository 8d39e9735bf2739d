"""What a listener serves, and how much it takes in."""

import ipaddress
from collections.abc import Callable

from popcube_server.rest.front_door.site import Site
from synapse_like_config.lazy_dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """What a JSON body may be at most: a client's, and another server's."""

    max_bytes: int
    max_depth: int
    max_signed_bytes: int


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """What a listener serves: which organisation a host name means, and the listener's own settings."""

    find_site: Callable[[str], Site | None]
    """By the Host header without port, lower case."""
    x_forwarded: bool
    is_trusted_proxy: Callable[[IPAddress], bool]
    """Whether an address's X-Forwarded-For is believed, if `x_forwarded`."""
    is_served: Callable[[str], bool]
    """Whether this listener has the resource that a path belongs to."""
    json_limits: JsonLimits
    timer_s: Callable[[], float]
    new_request_id: Callable[[], str]
    request_id_header: str | None = None
    """The header in which a proxy says which request it is, if it does."""
