"""The links to all peers that hold data: one for each, from when it is a peer until it is none any more."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from federation.sites.link import SiteLink
from federation.sites.site_peers import Peer, PeersChange, SitePeers
from storage.database import start

logger = logging.getLogger(__name__)


class LinksObserver(Protocol):
    """Metrics."""

    def linked(self, link: SiteLink) -> None: ...

    def unlinked(self, name: str) -> None: ...


class SiteLinks(Mapping[str, SiteLink]):
    """By the peer's name. A part: none of them works before the start."""

    def __init__(
        self, peers: SitePeers, make_link: Callable[[Peer], SiteLink], observer: LinksObserver
    ) -> None:
        self._peers = peers
        self._make_link = make_link
        self._observer = observer
        self._links: dict[str, SiteLink] = {}
        self._is_running = False
        for name in peers:
            self._add(name)
        peers.follow(self._change)

    def __getitem__(self, name: str) -> SiteLink:
        return self._links[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)

    def start(self) -> None:
        self._is_running = True
        for link in self._links.values():
            link.start()

    async def stop(self) -> None:
        self._is_running = False
        for link in reversed(self._links.values()):
            await link.stop()

    def _change(self, change: PeersChange) -> None:
        for name in (*change.removed, *change.changed):
            self._remove(name)
        for name in (*change.changed, *change.added):
            self._add(name)

    def _add(self, name: str) -> None:
        peer = self._peers[name]
        if peer.config.witness:
            return
        link = self._links[name] = self._make_link(peer)
        self._observer.linked(link)
        if self._is_running:
            link.start()

    def _remove(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            self._observer.unlinked(name)
            start(link.stop(), lambda failure: logger.error("The link to site %s: %s", name, failure))
