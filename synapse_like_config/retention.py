"""Messages that are deleted after a time."""

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class RetentionPolicy:
    """For rooms without a policy of their own."""

    min_lifetime_ms: int | None = options.optional_duration_ms()
    max_lifetime_ms: int | None = options.optional_duration_ms()


@dataclass(frozen=True)
class PurgeJob:
    """Looks at the rooms whose longest lifetime lies in this range, every `interval_ms`."""

    interval_ms: int = options.duration_ms("1d", 1000)
    shortest_max_lifetime_ms: int | None = options.optional_duration_ms()
    longest_max_lifetime_ms: int | None = options.optional_duration_ms()


@dataclass(frozen=True)
class RetentionConfig:
    """Off unless `enabled`."""

    enabled: bool = options.boolean(False)
    default_policy: RetentionPolicy = options.nested(RetentionPolicy())
    allowed_lifetime_min_ms: int | None = options.optional_duration_ms()
    allowed_lifetime_max_ms: int | None = options.optional_duration_ms()
    purge_jobs: tuple[PurgeJob, ...] = options.sections(PurgeJob, PurgeJob())

    def check(self) -> None:
        shortest, longest = self.allowed_lifetime_min_ms, self.allowed_lifetime_max_ms
        if shortest is not None and longest is not None and shortest > longest:
            raise WrongValue("must not be more than allowed_lifetime_max", "allowed_lifetime_min")
