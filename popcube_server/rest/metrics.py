"""`/metrics` for Prometheus. Served only where a listener has the resource `metrics`."""

from typing import Protocol

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint


class Exposition(Protocol):
    """Has numbers to show."""

    def render(self) -> bytes: ...


class MetricsPage:
    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition

    @endpoint("GET", "/metrics", Access.OPEN)
    @endpoint("GET", "/_synapse/metrics", Access.OPEN)
    async def metrics(self, call: Call) -> Answer:
        return Answer(self._exposition.render(), content_type="text/plain; version=0.0.4; charset=utf-8")
