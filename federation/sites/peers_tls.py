"""The listener for peers: who may connect is asked of the present peers, for each connection."""

import logging
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from federation.sites.site_peers import PeersChange, SitePeers
from federation.sites.site_tls import SiteTls

logger = logging.getLogger(__name__)


@implementer(IOpenSSLServerConnectionCreator)
class PeersTls:
    """What twisted's listener takes. A connection that is there stays; its requests are refused one by one."""

    def __init__(self, peers: SitePeers) -> None:
        """Raises OSError, ValueError or SSL.Error if a certificate cannot be used."""
        self._peers = peers
        self._context = self._make_context()
        peers.follow(self._change)

    def _change(self, change: PeersChange) -> None:
        try:
            self._context = self._make_context()
        except (OSError, ValueError, SSL.Error) as error:
            # The peers' were read a moment ago: this site's own is no good.
            logger.error("sites: certificate_path or private_key_path cannot be used: %s", error)

    def _make_context(self) -> SSL.Context:
        config = self._peers.config
        assert config.certificate_path is not None and config.private_key_path is not None
        tls = SiteTls(config.certificate_path, config.private_key_path)
        own = config.certificate_path.read_bytes()
        return tls.server_context([own, *(peer.config.read_certificate() for peer in self._peers.values())])

    def serverConnectionForTLS(self, tls_protocol: Any) -> SSL.Connection:  # noqa: N802
        return SSL.Connection(self._context, None)
