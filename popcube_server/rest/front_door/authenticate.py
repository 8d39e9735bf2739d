"""The access token of a request, and whether its owner may call an endpoint."""

from collections.abc import Mapping

from twisted.web.http import Request

from popcube_server.rest.endpoint import Access
from popcube_server.rest.front_door.site import Authenticator
from popcube_server.services.errors import MissingToken, NotAllowed, Refusal, UnknownToken, UserLocked
from popcube_server.services.requester import Requester


def find_access_token(request: Request, query: Mapping[str, tuple[str, ...]]) -> str | None:
    """Raises `MissingToken` or `UnknownToken` for what cannot be one."""
    headers = request.requestHeaders.getRawHeaders(b"Authorization") or []
    if headers:
        if len(headers) > 1:
            raise MissingToken("There is more than one Authorization header.")
        scheme, _, token = headers[0].partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise MissingToken("The Authorization header must be 'Bearer' and the access token.")
        try:
            return token.decode("ascii").strip()
        except UnicodeDecodeError:
            raise UnknownToken("The access token is not known.") from None
    # Deprecated since v1.11 of the specification, and part of every version before v1.20.
    values = query.get("access_token")
    return values[-1] if values else None


async def authenticate(authenticator: Authenticator, access: Access, token: str | None) -> Requester | None:
    """The token's owner. None if nobody need say who calls, and nobody does. Raises `Refusal`."""
    if access is Access.OPEN:
        return None
    if token is None:
        if access is Access.OPTIONAL:
            return None
        raise MissingToken("This call needs an access token.")
    requester = authenticator.find_requester(token) or await authenticator.get_requester(token)
    if requester.is_locked and access is not Access.LOCKED:
        raise UserLocked("This account is locked.", soft_logout=True)
    if access is Access.ADMIN and not requester.is_admin:
        raise NotAllowed("Only a server administrator may do this.")
    if access is Access.USER and requester.is_guest:
        raise _guest_refusal()
    return requester


def _guest_refusal() -> Refusal:
    return NotAllowed("Guests may not do this.")
