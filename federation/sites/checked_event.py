"""An event of a peer that is signed and of its room; what its room says of it is asked when it is placed."""

from federation.room_dag.event import Event
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    event: Event
    is_soft_failed: bool
    """As the peer says."""
