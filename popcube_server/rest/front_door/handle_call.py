"""From a request whose endpoint is found to what the endpoint answers: who calls is settled, the body is parsed."""

from collections.abc import Mapping
from typing import IO, Any, cast

from twisted.web.http import Request

from popcube_server.rest.endpoint import Access, Answer, Call, FileAnswer, Payload
from popcube_server.rest.front_door.addresses import client_address
from popcube_server.rest.front_door.authenticate import authenticate, find_access_token
from popcube_server.rest.front_door.body import SignedBody, content_length, read_json
from popcube_server.rest.front_door.door import FrontDoor
from popcube_server.rest.front_door.query import parse_query
from popcube_server.rest.front_door.site import Site
from popcube_server.rest.router import Route
from popcube_server.services.errors import NotJson
from popcube_server.services.federation.authenticate_server import SignedRequest
from popcube_server.services.requester import Requester
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who calls: the owner of an access token, another server, or nobody in particular."""

    requester: Requester | None
    access_token: str | None
    origin: str | None


async def handle(
    request: Request, door: FrontDoor, site: Site, route: Route, path: Mapping[str, str]
) -> "Mapping[str, Any] | Answer | FileAnswer":
    """What the endpoint answers. Raises `Refusal`."""
    query = parse_query(request.uri)
    if route.mark.access in (Access.SERVER, Access.SERVER_WAITS):
        return await _handle_signed(request, door, site, route, path, query)
    # Where anybody may call, the header may be of another kind: Synapse signs its requests for keys, too.
    token = None if route.mark.access is Access.OPEN else find_access_token(request, query)
    # The token is checked before the body is even looked at.
    requester = await authenticate(site.authenticator, route.mark.access, token)
    address = client_address(request, door)
    if requester is not None:
        site.authenticator.saw(requester, address, _header(request, b"User-Agent") or "")
    json = read_json(request, route.mark.payload, door.json_limits)
    caller = _Caller(requester, token, None)
    return await route.handler(_parsed(request, address, route, path, query, json, caller))


async def _handle_signed(
    request: Request,
    door: FrontDoor,
    site: Site,
    route: Route,
    path: Mapping[str, str],
    query: Mapping[str, tuple[str, ...]],
) -> "Mapping[str, Any] | Answer | FileAnswer":
    body = SignedBody(request, door.json_limits.max_signed_bytes)
    signed = SignedRequest(
        [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(b"Authorization") or ()],
        route.mark.method,
        request.uri.decode("latin-1"),
        body.read,
    )
    origin = await site.server_authenticator.authenticate(signed)
    address = client_address(request, door)
    if route.mark.access is Access.SERVER_WAITS:
        return await route.handler(
            _parsed(request, address, route, path, query, {}, _Caller(None, None, origin))
        )
    async with site.server_turns.turn(origin, body.size_bytes):
        content = body.read()
        if content is None and route.mark.payload is Payload.JSON_OBJECT:
            raise NotJson("The body is missing.")
        json = {} if content is None else content
        return await route.handler(
            _parsed(request, address, route, path, query, json, _Caller(None, None, origin))
        )


def _parsed(
    request: Request,
    address: str,
    route: Route,
    path: Mapping[str, str],
    query: Mapping[str, tuple[str, ...]],
    json: Any,
    caller: _Caller,
) -> Call:
    return Call(
        method=route.mark.method,
        path=path,
        query=query,
        json=json,
        content=cast(IO[bytes], request.content),
        content_length=content_length(request),
        content_type=_header(request, b"Content-Type"),
        client_address=address,
        maybe_requester=caller.requester,
        endpoint_name=route.name,
        access_token=caller.access_token,
        maybe_origin=caller.origin,
    )


def _header(request: Request, name: bytes) -> str | None:
    """The last value if it was repeated."""
    values = request.requestHeaders.getRawHeaders(name)
    return values[-1].decode("latin-1") if values else None
