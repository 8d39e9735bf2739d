"""What is kept in memory."""

from collections.abc import Mapping

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Plain


@dataclass(frozen=True)
class CachesConfig:
    """`global_factor` multiplies the size of every cache that `per_cache_factors` does not name."""

    global_factor: float = options.number(0.5, 0, 1000)
    per_cache_factors: Mapping[str, Plain] = options.plain_mapping()
    sync_response_cache_duration_ms: int = options.duration_ms("2m")

    def check(self) -> None:
        for name, factor in self.per_cache_factors.items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or factor < 0:
                raise WrongValue("must be a number, 0 or more", f"per_cache_factors.{name}")

    def entries(self, base: int, name: str = "") -> int:
        """How many entries a cache with this base size may hold: at least one."""
        factor = self.per_cache_factors.get(name, self.global_factor)
        return max(1, round(base * factor)) if isinstance(factor, int | float) else base


@dataclass(frozen=True)
class CachesSection:
    """`event_cache_size` is before the factor, as in Synapse; ask `events` for the number that counts."""

    event_cache_size: int = options.size_bytes("10K", 1)
    caches: CachesConfig = options.nested(CachesConfig())

    @property
    def events(self) -> int:
        return self.caches.entries(self.event_cache_size, "getEvent")
