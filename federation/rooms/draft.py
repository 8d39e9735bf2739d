"""What a caller wants to append to a room; the engine adds everything else."""

from collections.abc import Mapping
from typing import Any

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before its place in the room is known."""

    room_id: str
    type: str
    sender: str
    state_key: str | None
    content: Mapping[str, Any]
    redacts: str | None = None
    origin_server_ts: int | None = None
    """None: now. Only application services choose it."""
    instead_of: str | None = None
    """Append it only if the state still has this event in the draft's place; otherwise `StateMoved` is raised."""


@dataclass(frozen=True, slots=True)
class TransactionKey:
    """Names a request with a transaction ID: the device that sent it, and a digest of endpoint, path and ID."""

    scope: str
    txn_id: str
    request: bytes
