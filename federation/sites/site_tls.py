"""TLS between sites: both ends show a certificate, and each accepts only those that its configuration names."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from federation.transport.tls import is_certificate_of, parse_certificates

MINIMUM: Final = SSL.TLS1_2_VERSION


class SiteTls:
    """This site's certificate, and what it accepts."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """PEM files; the certificate with its chain. They are read when a context is made."""
        self._certificate = certificate
        self._private_key = private_key

    def server_context(self, peers: Iterable[bytes]) -> SSL.Context:
        """For the listener: who has none of these certificates (PEM), and none by them, does not get in.

        Raises OSError, ValueError or SSL.Error if a file cannot be used.
        """
        context = self._context(peers)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _is_ok)
        # Without one, OpenSSL refuses to go on with a session of a client that showed a certificate.
        context.set_session_id(b"popcube site")
        return context

    def client(self, peer: bytes) -> "SiteConnections":
        """For the link to one peer. Raises as `server_context` does."""
        context = self._context((peer,))
        pinned = [certificate.dumpPEM() for certificate in parse_certificates(peer, "a peer's certificate")]
        return SiteConnections(context, pinned)

    def _context(self, trusted: Iterable[bytes]) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(MINIMUM)
        context.use_certificate_chain_file(str(self._certificate))
        context.use_privatekey_file(str(self._private_key))
        context.check_privatekey()
        store = context.get_cert_store()
        if store is None:
            raise ValueError("OpenSSL has no certificate store")
        # A pinned certificate counts although whoever signed it is not known.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for pem in trusted:
            for certificate in parse_certificates(pem, "a peer's certificate"):
                store.add_cert(certificate.original)
        return context


class SiteConnections:
    """`TlsPolicy` for the connections to one peer."""

    def __init__(self, context: SSL.Context, pinned: Sequence[bytes]) -> None:
        self._context = context
        self._pinned = frozenset(pinned)

    def connection_creator(self, certificate_name: str) -> "SiteConnectionCreator":
        return SiteConnectionCreator(self._context, self._pinned, certificate_name)


@implementer(IOpenSSLClientConnectionCreator)
class SiteConnectionCreator:
    """One connection's beginning: the peer's very certificate, or one for its name by the authority that is named."""

    def __init__(self, context: SSL.Context, pinned: frozenset[bytes], name: str) -> None:
        self._context = context
        self._pinned = pinned
        self._name = name

    def clientConnectionForTLS(self, tls_protocol: Any) -> SSL.Connection:  # noqa: N802
        connection = SSL.Connection(self._context, None)

        def check(_: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
            if not ok or depth > 0:
                return bool(ok)
            shown = crypto.dump_certificate(crypto.FILETYPE_PEM, certificate)
            return shown in self._pinned or is_certificate_of(certificate, self._name)

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
        return connection


def _is_ok(_: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
    return bool(ok)
