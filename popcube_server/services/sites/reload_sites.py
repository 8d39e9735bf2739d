"""Reads the configuration again while the server runs: which sites there are is taken from it, and nothing else."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from OpenSSL.SSL import Error as TlsError
from twisted.internet.defer import DeferredLock

from federation.sites.site_peers import PeersChange, SitePeers
from storage.committer import CommitFailed
from storage.replication.own_site import LoseSites
from synapse_like_config.config import ServerConfig
from synapse_like_config.differences import find_differences
from synapse_like_config.errors import ConfigError
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.sites import SitesConfig

logger = logging.getLogger(__name__)


class NotReloaded(Exception):
    """Nothing has changed; the text says why."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What is another thing now, and which options of the file take effect with the next start only."""

    change: PeersChange
    needs_restart: Sequence[str]


class ReloadSites:
    def __init__(
        self,
        started_with: ServerConfig,
        load: Callable[[], ServerConfig],
        peers: SitePeers | None,
        commit: Callable[[LoseSites], Awaitable[object]],
    ) -> None:
        """`load` raises `ConfigError` or OSError. `peers` None: the organisation has one site."""
        self._started_with = started_with
        self._load = load
        self._peers = peers
        self._commit = commit
        self._lock = DeferredLock()

    async def reload(self) -> Reloaded:
        """Everybody who has to do with peers knows of it when this returns. Raises `NotReloaded`."""
        await self._lock.acquire()
        try:
            return await self._reload()
        finally:
            self._lock.release()

    async def _reload(self) -> Reloaded:
        try:
            config = self._load()
        except (ConfigError, OSError) as error:
            raise NotReloaded(f"The configuration was not reloaded: {error}") from None
        reloaded = await self._take(config)
        self._tell(reloaded)
        return reloaded

    async def _take(self, config: ServerConfig) -> Reloaded:
        peers, started_with = self._peers, self._started_with
        if peers is None or config.sites is None or started_with.sites is None:
            return Reloaded(PeersChange(), find_differences(started_with, config))
        wanted = with_peers_of(peers.config, config.sites)
        try:
            following = peers.prepare(wanted)
        except (OSError, ValueError, TlsError) as error:
            raise NotReloaded(f"The configuration was not reloaded: sites.peers: {error}") from None
        try:
            await self._commit(LoseSites(tuple(peer.name for peer in wanted.peers)))
        except CommitFailed as error:
            raise NotReloaded(f"The configuration was not reloaded: {error}") from None
        change = peers.adopt(following)
        as_it_is = replace(started_with, sites=wanted)
        return Reloaded(change, find_differences(as_it_is, config))

    def _tell(self, reloaded: Reloaded) -> None:
        change = reloaded.change
        for text, names in (
            ("new sites", change.added),
            ("sites that are none any more", change.removed),
            ("sites with another address, key or certificate", change.changed),
        ):
            if names:
                logger.warning("Configuration reloaded: %s: %s", text, ", ".join(names))
        if change.prefers_another:
            logger.warning("Configuration reloaded: another site is preferred for duties")
        if not change:
            logger.warning("Configuration reloaded: the sites are the same")
        if reloaded.needs_restart:
            logger.warning(
                "Configuration reloaded; what takes effect with the next start: %s",
                ", ".join(reloaded.needs_restart),
            )


def with_peers_of(present: SitesConfig, wanted: SitesConfig) -> SitesConfig:
    """What can change while the server runs does."""
    return replace(present, peers=wanted.peers, duties_preferred=wanted.duties_preferred)
