"""Options of this server that Synapse has no name for, under `popcube:`. Unknown names here are errors."""

import ipaddress

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import IPNetwork

# A reverse proxy is on the same machine or in the same private network.
DEFAULT_TRUSTED_PROXIES = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


@dataclass(frozen=True)
class Argon2Config:
    """The cost of one password hash; the defaults are OWASP's second recommendation for argon2id."""

    time_cost: int = options.integer(2, 1, 100)
    memory_bytes: int = options.size_bytes("19M", 8 * 1024)
    parallelism: int = options.integer(1, 1, 64)


@dataclass(frozen=True)
class LimitsConfig:
    """Bounds on what a request may bring; media have `max_upload_size`."""

    max_body_size_bytes: int = options.size_bytes("4M", 64 * 1024, 1024**3)
    max_json_depth: int = options.integer(100, 10, 500)


@dataclass(frozen=True)
class CommitConfig:
    """The group commit: how many changes one transaction takes, and how many may wait before new ones are refused."""

    max_batch: int = options.integer(500, 1, 100_000)
    max_waiting: int = options.integer(20_000, 1)


@dataclass(frozen=True)
class MemoryConfig:
    """Entries in our own caches. Synapse's `caches.global_factor` does not change these."""

    live_rooms: int = options.integer(2000, 1)
    access_tokens: int = options.integer(50_000, 1)
    sync_connections: int = options.integer(20_000, 1)


@dataclass(frozen=True)
class LogConfig:
    """`json` is one object a line, `text` is for people."""

    level: str = options.choice("INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
    format: str = options.choice("text", ("text", "json"))


@dataclass(frozen=True)
class PopcubeConfig:
    """`shutdown_grace_ms` is how long SIGTERM waits for requests in flight."""

    trusted_proxies: tuple[IPNetwork, ...] = options.networks(*DEFAULT_TRUSTED_PROXIES)
    shutdown_grace_ms: int = options.duration_ms("30s")
    argon2: Argon2Config = options.nested(Argon2Config())
    limits: LimitsConfig = options.nested(LimitsConfig())
    commit: CommitConfig = options.nested(CommitConfig())
    memory: MemoryConfig = options.nested(MemoryConfig())
    log: LogConfig = options.nested(LogConfig())
