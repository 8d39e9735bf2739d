"""What every area of an organisation is built from."""

from federation.room_dag.signing import EventSigner
from federation.sites.durability import SiteDurability
from popcube_server.metrics import Metrics
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.database import Database
from storage.engines.engine import Engine
from storage.log import Log
from storage.replication.hybrid_clock import HybridClock
from synapse_like_config.config import ServerConfig
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.sites import SitesConfig


@dataclass(frozen=True, slots=True)
class SiteCore:
    """What the committer of an organisation on several sites needs; the links are built over it."""

    config: SitesConfig
    log_id: str
    """Of this site's log."""
    engine: Engine
    clock: HybridClock
    durability: SiteDurability | None
    """None: what is on this site's disk is answered."""


@dataclass(frozen=True, slots=True)
class Core:
    """One organisation's foundations. Only the building functions see it: services get what they use."""

    config: ServerConfig
    server_name: str
    signer: EventSigner
    platform: Platform
    metrics: Metrics
    database: Database
    log: Log
    committer: Committer
    sites: SiteCore | None = None
