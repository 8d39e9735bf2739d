"""Builds what tells about the server itself: versions, well-known documents, health, metrics."""

from collections.abc import Sequence

from popcube_server.building.core import Core
from popcube_server.rest.client.support import WellKnownSupport
from popcube_server.rest.client.versions import Versions
from popcube_server.rest.client.voip import Voip
from popcube_server.rest.client.wellknown import WellKnownClient, client_document
from popcube_server.rest.health import Health
from popcube_server.rest.metrics import MetricsPage
from popcube_server.services.voip.turn_credentials import TurnCredentials
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerPart:
    servlets: Sequence[object]


def build_server(core: Core) -> ServerPart:
    server = core.config.server
    document = client_document(
        server.client_base_url, server.default_identity_server, server.extra_well_known_client_content
    )
    return ServerPart(
        [
            Health(),
            MetricsPage(core.metrics),
            Versions(),
            WellKnownClient(document),
            WellKnownSupport(server.admin_contact),
            Voip(TurnCredentials(core.config.turn, core.platform.now_s)),
        ]
    )
