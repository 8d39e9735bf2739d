"""What every area of an organisation is built from."""

from dataclasses import dataclass

from federation.room_dag.signing import EventSigner
from popcube_server.metrics import Metrics
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.database import Database
from storage.log import Log
from synapse_like_config.config import ServerConfig


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
