"""Numbers about one organisation, in a registry of its own, published at `/metrics`.

Label look-ups are done once and kept: counting a request costs a dictionary look-up and an addition.
"""

from collections.abc import Callable

from popcube_server.counters import Counter, Gauge, Histogram, Registry
from popcube_server.load_exposition import load_exposition

_LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_SIZE_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)


class Metrics:
    """An organisation's counters. Nothing here is shared between organisations."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._requests = Counter(
            "popcube_requests_total", "Requests answered.", ["endpoint", "code"], registry=self.registry
        )
        self._latency = Histogram(
            "popcube_request_seconds",
            "Time from a request's last byte to its answer.",
            ["endpoint"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._commit_size = Histogram(
            "popcube_commit_changes", "Changes per commit.", buckets=_SIZE_BUCKETS, registry=self.registry
        )
        self._commit_time = Histogram(
            "popcube_commit_seconds", "Time per commit.", buckets=_COMMIT_BUCKETS_S, registry=self.registry
        )
        self._commit_failures = Counter(
            "popcube_commit_failures_total", "Submissions that could not be written.", registry=self.registry
        )
        self._by_request: dict[tuple[str, int], Callable[[float], None]] = {}

    def answered(self, endpoint: str, code: int, duration_s: float) -> None:
        count = self._by_request.get((endpoint, code))
        if count is None:
            count = self._request_counter(endpoint, code)
            self._by_request[endpoint, code] = count
        count(duration_s)

    def _request_counter(self, endpoint: str, code: int) -> Callable[[float], None]:
        requests = self._requests.labels(endpoint, str(code))
        latency = self._latency.labels(endpoint)

        def count(duration_s: float) -> None:
            requests.inc()
            latency.observe(duration_s)

        return count

    def committed(self, changes: int, duration_s: float) -> None:
        self._commit_size.observe(changes)
        self._commit_time.observe(duration_s)

    def failed(self) -> None:
        self._commit_failures.inc()

    def watch_log_position(self, position: Callable[[], int]) -> None:
        """Publish the log's position."""
        gauge = Gauge("popcube_log_position", "The newest position in the log.", registry=self.registry)
        gauge.set_function(position)

    def cache(
        self, name: str, size: Callable[[], int], hits: Callable[[], int], misses: Callable[[], int]
    ) -> None:
        """Publish a cache's size and hits; `name` is part of the metrics' names."""
        for suffix, meaning, function in (
            ("size", "Entries", size),
            ("hits", "Look-ups answered", hits),
            ("misses", "Look-ups not answered", misses),
        ):
            gauge = Gauge(
                f"popcube_cache_{name}_{suffix}", f"{meaning} in the cache.", registry=self.registry
            )
            gauge.set_function(function)

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Publish a number that is asked for when it is read."""
        Gauge(f"popcube_{name}", meaning, registry=self.registry).set_function(value)

    def counter(self, name: str, meaning: str) -> Callable[[], None]:
        """Publish how often what this returns was called."""
        return Counter(f"popcube_{name}_total", meaning, registry=self.registry).inc

    def render(self) -> bytes:
        """The exposition text."""
        return load_exposition().render(self.registry.families)
