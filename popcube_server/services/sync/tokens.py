"""The tokens that clients hold: where they are in the log, and where in a room's timeline.

s120.main       everything up to position 120 of the log of site `main` was given to the client
s120-80.main    the same, but of to-device messages only those up to position 80
t7340032        in a room's timeline, right behind the events with an ordering of at most 7340032
t7340032.paris  the same, where there are several sites: orderings follow from each site's own log
"""

import re

from popcube_server.services.errors import InvalidParam
from storage.events import ORDERING_STEP
from synapse_like_config.lazy_dataclasses import dataclass

MAX_POSITION = 2**43 - 1
"""Times `ORDERING_STEP` this still fits into 63 bits."""
MAX_ORDERING = 2**63 - 1

_SYNC = re.compile(r"s([0-9]{1,13})(?:-([0-9]{1,13}))?\.([a-z0-9_-]{1,32})", re.ASCII)
_PAGINATION = re.compile(r"t(-?[0-9]{1,19})(?:\.([a-z0-9_-]{1,32}))?", re.ASCII)
ONLY_SITE = "main"
"""In tokens, the ID of the log of an organisation that has (or had) one site."""


@dataclass(frozen=True, slots=True)
class SyncToken:
    """`next_batch` of a sync."""

    position: int
    site: str
    to_device: int | None = None
    """Given if newer to-device messages than this one are still to be delivered."""

    def __str__(self) -> str:
        behind = "" if self.to_device is None else f"-{self.to_device}"
        return f"s{self.position}{behind}.{self.site}"

    @property
    def to_device_position(self) -> int:
        """The newest to-device message that the client has."""
        return self.position if self.to_device is None else self.to_device


@dataclass(frozen=True, slots=True)
class PaginationToken:
    """A place in the timeline of a room: events with at most this ordering lie before it."""

    ordering: int
    site: str = ONLY_SITE

    def __str__(self) -> str:
        where = "" if self.site == ONLY_SITE else f".{self.site}"
        return f"t{self.ordering}{where}"


def parse_sync_token(text: str) -> SyncToken:
    """Raises `InvalidParam` for what this server cannot have made."""
    match = _SYNC.fullmatch(text)
    if match is None:
        raise InvalidParam("The sync token cannot be read.")
    position, to_device, site = match.groups()
    token = SyncToken(int(position), site, None if to_device is None else int(to_device))
    if token.position > MAX_POSITION or token.to_device_position > token.position:
        raise InvalidParam("The sync token cannot be read.")
    return token


def parse_pagination_token(text: str) -> PaginationToken:
    """A place in a timeline, also where a sync ended. Raises `InvalidParam`."""
    if text.startswith("s"):
        sync_token = parse_sync_token(text)
        return PaginationToken(sync_token.position * ORDERING_STEP, sync_token.site)
    match = _PAGINATION.fullmatch(text)
    if match is None or abs(int(match[1])) > MAX_ORDERING:
        raise InvalidParam("The pagination token cannot be read.")
    return PaginationToken(int(match[1]), match[2] or ONLY_SITE)
