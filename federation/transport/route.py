"""Where a server is and how it proves that it is there: the outcome of server discovery."""

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A host name, or an IP address without brackets, and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Route:
    """`targets` in the order to try them; `certificate_name` is a host name or an IP address without brackets."""

    targets: tuple[Target, ...]
    host_header: str
    certificate_name: str
