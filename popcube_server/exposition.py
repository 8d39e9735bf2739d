"""What was counted in the text format of Prometheus, by its own library; loaded when somebody asks for it."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from popcube_server.counters import Family


def render(families: Iterable[Family[Any]]) -> bytes:
    return generate_latest(_Collector(families))


class _Collector:
    def __init__(self, families: Iterable[Family[Any]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            # The library puts the ending of a counter's name back.
            metric = Metric(family.name.removesuffix("_total"), family.meaning, family.kind)
            for suffix, labels, number in family.read():
                metric.add_sample(family.name + suffix, dict(labels), number)
            yield metric
