"""What the front door needs of an organisation."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from popcube_server.rest.router import Router
from popcube_server.services.federation.authenticate_server import SignedRequest
from popcube_server.services.requester import Requester
from synapse_like_config.lazy_dataclasses import dataclass


class Authenticator(Protocol):
    """Turns an access token into its owner."""

    def find_requester(self, token: str) -> Requester | None:
        """The owner if that is known without waiting."""

    async def get_requester(self, token: str) -> Requester:
        """Raises `UnknownToken`."""

    def saw(self, requester: Requester, client_address: str, user_agent: str) -> None:
        """Hear that a user's device is alive. Called with each request: it must cost next to nothing."""


class ServerAuthenticator(Protocol):
    """Finds out which server signed a request."""

    async def authenticate(self, request: SignedRequest) -> str:
        """Its server name. Raises M_UNAUTHORIZED."""


class ServerTurns(Protocol):
    """Says when a server's request may be worked on."""

    def turn(self, name: str, body_bytes: int) -> AbstractAsyncContextManager[None]:
        """Raises `LimitExceeded`."""


class RequestObserver(Protocol):
    """Counts answers (metrics)."""

    def answered(self, endpoint: str, code: int, duration_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Site:
    """What the front door needs of an organisation."""

    router: Router
    authenticator: Authenticator
    server_authenticator: ServerAuthenticator
    server_turns: ServerTurns
    observer: RequestObserver
