"""Which site signed a request: as servers sign theirs, in the name of the one server that all sites are."""

from collections.abc import Mapping

from federation.room_dag.canonical_json import NotCanonical, encode_lenient
from federation.room_dag.signing import EventSigner, InvalidSignature, verify_bytes
from federation.sites.site_peers import SitePeers
from federation.transport.x_matrix import InvalidHeader, parse_x_matrix, request_signed_bytes
from popcube_server.services.errors import WithCode
from popcube_server.services.federation.authenticate_server import SignedRequest

LINK_PATHS = "/_popcube/sites/"


class AuthenticateSite:
    """For the listener that only sites reach."""

    def __init__(self, own_name: str, signer: EventSigner, peers: SitePeers) -> None:
        """The site's own key counts too: its operator asks how it stands."""
        self._server_name = signer.server_name
        self._own = {signer.key_id: (own_name, signer.verify_key)}
        self._peers = peers
        self._keys: Mapping[str, tuple[str, bytes]] = {}
        self._gather()
        peers.follow(lambda change: self._gather())

    def _gather(self) -> None:
        keys = [(peer.name, peer.config.verify_key) for peer in self._peers.values()]
        self._keys = {key.key_id: (name, key.key) for name, key in keys} | self._own

    async def authenticate(self, request: SignedRequest) -> str:
        """The site's name on the links' own paths; elsewhere the server name, for a site asks as this very server.

        Raises M_UNAUTHORIZED with 401.
        """
        if len(request.authorization) != 1:
            raise _unauthorized("The request has no signature.")
        try:
            header = parse_x_matrix(request.authorization[0])
            body = request.read_content()
            content = None if body is None else encode_lenient(body)
        except (InvalidHeader, NotCanonical) as error:
            raise _unauthorized(f"The signature cannot be read: {error}.") from None
        site, key = self._keys.get(header.key_id, (None, b""))
        name = self._server_name
        if site is None or header.origin != name or header.destination != name:
            raise _unauthorized("The request is not signed by a site that this one knows.")
        message = request_signed_bytes(name, name, request.method, request.uri, content)
        try:
            verify_bytes(message, header.signature, key)
        except InvalidSignature:
            raise _unauthorized("The request's signature is wrong.") from None
        return site if request.uri.startswith(LINK_PATHS) else name


def _unauthorized(message: str) -> WithCode:
    return WithCode(401, "M_UNAUTHORIZED", message)
