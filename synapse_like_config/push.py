"""Push notifications and unread counts."""

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class PushConfig:
    """Without `enabled` there are no unread counts either."""

    enabled: bool = options.boolean(True)
    include_content: bool = options.boolean(True)
    group_unread_count_by_room: bool = options.boolean(True)
    jitter_delay_ms: int | None = options.optional_duration_ms()
