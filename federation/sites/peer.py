"""What a link needs of the way to a peer site."""

from typing import Protocol

from federation.sites.batch import Acknowledgement


class PeerUnreachable(Exception):
    """No answer, or none that can be used: it is tried again later."""


class PeerSite(Protocol):
    """All raise `PeerUnreachable`."""

    async def get_cursor(self) -> int:
        """The position of this site's log up to which the peer has everything on its disk."""

    async def send(self, batch: bytes) -> Acknowledgement:
        """Hand over a batch (see `batch.py`); on the peer's disk when this returns."""
