"""Who sent a signed request. Source: server-server API, "Request Authentication"."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from federation.keys.key_ring import KeyRing
from federation.room_dag.canonical_json import NotCanonical, encode_lenient
from federation.room_dag.identifiers import is_server_name
from federation.room_dag.signing import InvalidSignature, verify_bytes
from federation.transport.allowed_servers import AllowedServers
from federation.transport.back_off import BackOff
from federation.transport.x_matrix import InvalidHeader, XMatrix, parse_x_matrix, request_signed_bytes
from federation.turns import Busy
from popcube_server.services.errors import LimitExceeded, NotAllowed, WithCode
from popcube_server.services.federation.origin_turns import RefusalObserver
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_HEADERS = 5
"""A server may sign with several keys and send a header for each."""
BUSY_RETRY_MS = 10_000


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What was received: `uri` is path and query as they came."""

    authorization: Sequence[str]
    method: str
    uri: str
    read_content: Callable[[], Any]
    """The parsed body, None if there was none. Raises what is wrong with it."""


class AuthenticateServer:
    """Finds out and proves which server sends a request."""

    def __init__(
        self,
        own_name: str,
        key_ring: KeyRing,
        allowed: AllowedServers,
        back_off: BackOff,
        observer: RefusalObserver,
    ) -> None:
        self._own_name = own_name
        self._key_ring = key_ring
        self._allowed = allowed
        self._back_off = back_off
        self._observer = observer

    async def authenticate(self, request: SignedRequest) -> str:
        """The server name of the sender.

        Raises M_UNAUTHORIZED with 401; `NotAllowed` if we do not talk to it; `LimitExceeded` if too many servers that
        are not known call; what is wrong with the body.
        """
        headers = self._parse(request.authorization)
        origin = headers[0].origin
        if not self._allowed.is_allowed(origin):
            raise NotAllowed("This server does not talk to yours.")
        await self._verify(origin, headers, request)
        # Who calls is up: what waits for it goes out now.
        await self._back_off.answered(origin)
        return origin

    def _parse(self, values: Sequence[str]) -> list[XMatrix]:
        if not values:
            raise _unauthorized("The request is not signed: it has no Authorization header.")
        if len(values) > MAX_HEADERS:
            raise _unauthorized("The request has too many Authorization headers.")
        try:
            headers = [parse_x_matrix(value) for value in values]
        except InvalidHeader as error:
            raise _unauthorized(f"The Authorization header cannot be read: {error}.") from None
        origin = headers[0].origin
        if any(header.origin != origin for header in headers) or not is_server_name(origin):
            raise _unauthorized("The Authorization header does not name one server as the origin.")
        if origin == self._own_name:
            # What this server has to say to itself it does not say over the network; its sites have a way of their own.
            raise _unauthorized("The request is signed in the name of this very server.")
        # "If this property is included, but the value does not match the receiving server's name, the receiving server
        # must deny the request with an HTTP status code 401 Unauthorized."
        if any(header.destination not in (None, self._own_name) for header in headers):
            raise _unauthorized("The request is signed for another server.")
        return headers

    async def _verify(self, origin: str, headers: Sequence[XMatrix], request: SignedRequest) -> None:
        try:
            keys = await self._key_ring.get_keys_of_caller(origin, [header.key_id for header in headers])
        except Busy:
            self._observer.refused("unknown servers")
            raise LimitExceeded("Too many servers that are not known here call.", BUSY_RETRY_MS) from None
        if not keys:
            # A body is not even parsed for a server that cannot have signed it.
            raise _unauthorized("The request's signature could not be verified.")
        value = request.read_content()
        try:
            content = None if value is None else encode_lenient(value)
        except NotCanonical:
            raise _unauthorized("The body cannot have been signed: it is not canonical JSON.") from None
        for header in headers:
            key = keys.get(header.key_id)
            if key is None:
                continue
            message = request_signed_bytes(origin, header.destination, request.method, request.uri, content)
            try:
                verify_bytes(message, header.signature, key.key)
            except InvalidSignature:
                logger.info("Wrong signature on %s %s by %s", request.method, request.uri[:200], origin)
                continue
            return
        raise _unauthorized("The request's signature could not be verified.")


def _unauthorized(message: str) -> WithCode:
    return WithCode(401, "M_UNAUTHORIZED", message)
