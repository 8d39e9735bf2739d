"""Credentials for the TURN server that calls go through where two clients cannot reach each other.

With a shared secret they are made for each user and hold for a time only: the TURN server checks them by itself.
Source: client-server API, voip; draft-uberti-behave-turn-rest, section 2.2.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable

from popcube_server.services.errors import WithCode
from popcube_server.services.requester import Requester
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.turn import TurnSection


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says to the TURN server."""

    uris: tuple[str, ...]
    username: str
    password: str
    ttl_s: int


class TurnCredentials:
    def __init__(self, config: TurnSection, now_s: Callable[[], float]) -> None:
        self._config = config
        self._now_s = now_s

    def find(self, requester: Requester) -> Credentials | None:
        """None if this server has no TURN server. Raises M_GUEST_ACCESS_FORBIDDEN."""
        config = self._config
        if requester.is_guest and not config.turn_allow_guests:
            raise WithCode(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests get no credentials for calls.")
        ttl_s = config.turn_user_lifetime_ms // 1000
        if not config.turn_uris:
            return None
        if config.turn_shared_secret is not None:
            # "usercombo -> "timestamp:userid"": the time at which the credentials end.
            username = f"{int(self._now_s()) + ttl_s}:{requester.user_id}"
            # The TURN server compares with base64(HMAC-SHA1(secret, usercombo)): SHA-1 is not ours to choose.
            digest = hmac.new(config.turn_shared_secret.encode(), username.encode(), hashlib.sha1).digest()
            return Credentials(config.turn_uris, username, base64.b64encode(digest).decode(), ttl_s)
        if config.turn_username is not None and config.turn_password is not None:
            return Credentials(config.turn_uris, config.turn_username, config.turn_password, ttl_s)
        return None
