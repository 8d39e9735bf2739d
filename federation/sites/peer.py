"""What a link needs of the way to a peer site."""

from typing import Protocol

from federation.sites.batch import Acknowledgement
from synapse_like_config.lazy_dataclasses import dataclass


class PeerUnreachable(Exception):
    """No answer, or none that can be used: it is tried again later."""


@dataclass(frozen=True, slots=True)
class PeerCursor:
    """`position` of this site's log is on the peer's disk; `log` is the ID of the peer's own."""

    position: int
    log: str


class PeerSite(Protocol):
    """All raise `PeerUnreachable`."""

    async def get_cursor(self) -> PeerCursor:
        """How far the peer is."""

    async def send(self, batch: bytes) -> Acknowledgement:
        """Hand over a batch (see `batch.py`); on the peer's disk when this returns."""
