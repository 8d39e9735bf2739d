"""The ports and sockets that the server listens on, and what each of them serves."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import kind, parse_boolean_or_none, parse_string
from synapse_like_config.values import Value

RESOURCE_NAMES = (
    "client",
    "consent",
    "federation",
    "health",
    "keys",
    "media",
    "metrics",
    "openid",
    "replication",
    "static",
)
# Synapse: `client` and `federation` bring others with them; health is on every listener.
_IMPLIED = {"client": ("media", "static"), "federation": ("media", "keys", "openid")}


def _parse_resource_names(value: Value) -> tuple[str, ...]:
    # COMPAT: Synapse takes one name as a plain string.
    items = value.sequence() if value.sequence() is not None else (value,)
    if value.mapping() is not None or items is None:
        raise WrongValue(f"must be a list of names, not {kind(value)}")
    names = tuple(parse_string(item) for item in items)
    for name in names:
        if name not in RESOURCE_NAMES:
            raise WrongValue(f"{name!r} is not one of {', '.join(RESOURCE_NAMES)}")
    return names


def _parse_mode(value: Value) -> int:
    text = value.text.removeprefix("0o")
    if not text or len(text) > 4 or any(digit not in "01234567" for digit in text):
        raise WrongValue(f"must be file permissions in octal, such as 660, not {value.text[:20]!r}")
    return int(text, 8)


@dataclass(frozen=True)
class ResourceConfig:
    """A group of resources on one listener."""

    names: tuple[str, ...] = options.custom((), _parse_resource_names)
    compress: bool = options.boolean(False)


@dataclass(frozen=True)
class ListenerConfig:
    """One port or one Unix socket. Port 0 lets the system choose."""

    port: int | None = options.optional_integer(0, 65535)
    path: Path | None = options.optional_path()
    mode: int = options.custom(0o666, _parse_mode)
    bind_addresses: tuple[str, ...] = options.string_or_strings()
    bind_address: str | None = options.optional_string()
    type: str = options.choice("http", ("http", "metrics", "manhole"))
    tls: bool = options.boolean(False)
    x_forwarded: bool | None = options.custom(None, parse_boolean_or_none)
    tag: str | None = options.optional_string()
    request_id_header: str | None = options.optional_string()
    resources: tuple[ResourceConfig, ...] = options.sections(ResourceConfig)

    def check(self) -> None:
        if (self.port is None) == (self.path is None):
            raise WrongValue("a listener needs either a port or the path of a Unix socket", "port")
        if self.path is not None and self.tls:
            raise WrongValue("a Unix socket cannot have TLS", "tls")
        if self.path is not None and self.type != "http":
            raise WrongValue("a Unix socket can only be of type http", "type")

    @property
    def addresses(self) -> tuple[str, ...]:
        """The local addresses to bind; all of IPv4 and IPv6 when the file names none."""
        if self.bind_addresses:
            return self.bind_addresses
        return (self.bind_address,) if self.bind_address else ("::", "0.0.0.0")  # noqa: S104

    @property
    def believes_x_forwarded_for(self) -> bool:
        """Whether a reverse proxy stands in front. True for Unix sockets unless the file says otherwise."""
        return self.path is not None if self.x_forwarded is None else self.x_forwarded

    @property
    def resource_names(self) -> frozenset[str]:
        """Everything served here, including what a named resource brings with it."""
        if self.type == "metrics":
            return frozenset(("metrics", "health"))
        named = [name for resource in self.resources for name in resource.names]
        implied = [name for one in named for name in _IMPLIED.get(one, ())]
        return frozenset((*named, *implied, "health"))


# When the file has no `listeners`: reachable from this machine only.
DEFAULT_LISTENERS = (
    ListenerConfig(
        port=8008, bind_addresses=("127.0.0.1",), resources=(ResourceConfig(("client", "federation")),)
    ),
)
