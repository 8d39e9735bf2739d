"""The two halves of an mxc:// URI, checked, and how long to wait for what they name."""

import re

from federation.room_dag.identifiers import is_server_name
from popcube_server.services.errors import NotFound
from synapse_like_config.lazy_dataclasses import dataclass

MAX_WAIT_MS = 60_000

_MEDIA_ID = re.compile(r"[A-Za-z0-9_\-]{1,255}")


@dataclass(frozen=True, slots=True)
class MediaAddress:
    """Which media."""

    server_name: str
    media_id: str


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """Which media, and what the client allows for getting it."""

    address: MediaAddress
    timeout_ms: int
    """How long the client waits for content that is not uploaded yet."""
    allow_remote: bool
    """Whether the server may fetch it from another one."""
    client_address: str = ""
    """On whose account it is fetched: the client's IP address."""


def parse_media_address(server_name: str, media_id: str) -> MediaAddress:
    """Raises `NotFound` for what cannot be part of an mxc:// URI."""
    # Homeservers MUST sanitise mxc:// URIs by restricting the server-name segment to valid server names,
    # and allowing only alphanumeric, _ and - characters in the media-id segment.
    if not is_server_name(server_name) or not _MEDIA_ID.fullmatch(media_id):
        raise NotFound("There is no such media: that is not a valid mxc:// URI.")
    return MediaAddress(server_name, media_id)
