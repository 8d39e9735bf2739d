"""What the server says about its own work."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class ObservabilitySection:
    """`log_config` is Synapse's logging file; ours is set by `popcube.log`."""

    enable_metrics: bool = options.boolean(False)
    report_stats: bool = options.boolean(False)
    log_config: Path | None = options.optional_path()
