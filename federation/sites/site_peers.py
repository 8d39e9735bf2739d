"""The peers that this site has at present: the one place that says who they are. Everything else asks, or follows."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from federation.room_dag.signing import EventSigner
from federation.sites.site_client import SiteClient
from federation.transport.https import Https
from storage.database import start
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.sites import SitePeer, SitesConfig

logger = logging.getLogger(__name__)

ConnectSite = Callable[[SitesConfig, SitePeer], Https]
"""The way to a peer. Raises OSError, ValueError or SSL.Error if its certificate, or this site's, cannot be used."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer and the way to it: another object whenever the way is another one."""

    config: SitePeer
    client: SiteClient
    https: Https
    identity: object
    """Equal as long as nothing about the way has changed, certificates among it."""

    @property
    def name(self) -> str:
        return self.config.name


@dataclass(frozen=True, slots=True)
class PeersChange:
    """What became of the peers; names. Of those that are `changed` the way there is another one."""

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Sequence[str] = ()
    prefers_another: bool = False
    """Another site is to have the duties where nobody votes."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.prefers_another)


@dataclass(frozen=True, slots=True)
class NextPeers:
    """What the peers are to be: everything about it could be read."""

    config: SitesConfig
    peers: Mapping[str, Peer]


class SitePeers(Mapping[str, Peer]):
    """By name. `prepare`, then `adopt`: what cannot be used is told before anything has changed."""

    def __init__(self, config: SitesConfig, signer: EventSigner, connect: ConnectSite) -> None:
        """Raises what `connect` raises."""
        self._signer = signer
        self._connect = connect
        self._followers: list[Callable[[PeersChange], None]] = []
        self._peers: Mapping[str, Peer] = {}
        self.config = config
        """As it is now: what was not reloaded is as it was at the start."""
        self._peers = self.prepare(config).peers

    def __getitem__(self, name: str) -> Peer:
        return self._peers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)

    def clients(self) -> Sequence[SiteClient]:
        """Of those that hold data: not of witnesses."""
        return [peer.client for peer in self._peers.values() if not peer.config.witness]

    def follow(self, callback: Callable[[PeersChange], None]) -> None:
        """Hear of each change once it is one; and of an empty one when the configuration was read and is the same."""
        self._followers.append(callback)

    def prepare(self, config: SitesConfig) -> NextPeers:
        """Raises what `connect` raises."""
        return NextPeers(config, {peer.name: self._peer(config, peer) for peer in config.peers})

    def _peer(self, config: SitesConfig, peer: SitePeer) -> Peer:
        identity = (peer, peer.read_certificate_if_there(), config.read_certificate_if_there())
        present = self._peers.get(peer.name)
        if present is not None and present.identity == identity:
            return present
        https = self._connect(config, peer)
        return Peer(peer, SiteClient(peer.name, peer.url, self._signer, https), https, identity)

    def adopt(self, following: NextPeers) -> PeersChange:
        """They are the peers from now on."""
        before, self._peers = self._peers, following.peers
        preferred = self.config.preferred
        self.config = following.config
        kept = [name for name in before if name in following.peers]
        change = PeersChange(
            [name for name in following.peers if name not in before],
            [name for name in before if name not in following.peers],
            [name for name in kept if before[name] is not following.peers[name]],
            preferred != self.config.preferred,
        )
        for callback in self._followers:
            callback(change)
        for name in (*change.removed, *change.changed):
            start(before[name].https.close(), lambda failure: logger.warning("Closing a link: %s", failure))
        return change

    async def close(self) -> None:
        for peer in self._peers.values():
            await peer.https.close()
