"""Builds what tells about the server itself: versions, well-known documents, health, metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from popcube_server.building.core import Core
from popcube_server.rest.health import Health
from popcube_server.rest.metrics import MetricsPage


@dataclass(frozen=True, slots=True)
class ServerPart:
    servlets: Sequence[object]


def build_server(core: Core) -> ServerPart:
    return ServerPart([Health(), MetricsPage(core.metrics)])
