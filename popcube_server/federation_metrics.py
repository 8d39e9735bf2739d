"""Numbers about what other servers send to one organisation. None by server: strangers make up any number of names."""

from collections.abc import Callable

from popcube_server.counters import Counter
from popcube_server.metrics import Metrics


class FederationMetrics:
    """Counts what came in, in the organisation's registry."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self._pdus = Counter(
            "popcube_federation_received_pdus_total",
            "PDUs of other servers' transactions, by what became of them.",
            ["result"],
            registry=registry,
        )
        self._edus = Counter(
            "popcube_federation_received_edus_total",
            "EDUs of other servers' transactions, by type and what became of them.",
            ["type", "result"],
            registry=registry,
        )
        self._refused = Counter(
            "popcube_federation_refused_requests_total",
            "Requests of other servers that were too many, by limit.",
            ["limit"],
            registry=registry,
        )
        self._gauge = metrics.gauge

    def pdu(self, fate: str) -> None:
        self._pdus.labels(fate).inc()

    def edu(self, edu_type: str, fate: str) -> None:
        self._edus.labels(edu_type, fate).inc()

    def refused(self, limit: str) -> None:
        self._refused.labels(limit).inc()

    def watch(self, name: str, meaning: str, value: Callable[[], int]) -> None:
        """Publish a length that is asked for when it is read; `name` is what follows `popcube_federation_`."""
        self._gauge(f"federation_{name}", meaning, value)
