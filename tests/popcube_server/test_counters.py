"""What is shown is what Prometheus' own library reads, and would have counted."""

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.counters import Counter, Gauge, Histogram, Registry
from popcube_server.exposition import render

HARD = 'a "quoted"\\ one\nof two lines'


class CountersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(render(self.registry.families).decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def test_labels_are_read_as_they_were_given(self) -> None:
        counter = Counter("answers_total", HARD, ["path", "code"], registry=self.registry)
        counter.labels(HARD, "200").inc()
        counter.labels(HARD, "200").inc(1.5)
        counter.labels("/", "404").inc()
        self.assertEqual(
            {
                ("answers_total", frozenset({("path", HARD), ("code", "200")})): 2.5,
                ("answers_total", frozenset({("path", "/"), ("code", "404")})): 1.0,
            },
            self.samples(),
        )

    def test_without_labels_a_number_is_shown_from_the_beginning(self) -> None:
        Counter("falls_total", "Falls.", registry=self.registry)
        gauge = Gauge("height", "Height.", registry=self.registry)
        self.assertEqual(
            {"falls_total": 0.0, "height": 0.0}, {key[0]: n for key, n in self.samples().items()}
        )
        gauge.set(2)
        self.assertEqual(2.0, self.samples()["height", frozenset()])
        gauge.set_function(lambda: 3)
        self.assertEqual(3.0, self.samples()["height", frozenset()])

    def test_all_is_written_as_the_library_writes_it(self) -> None:
        theirs = prometheus_client.CollectorRegistry()
        bounds = (0.5, 1, 10)
        mine = Histogram("time_seconds", "Time.", ["path"], buckets=bounds, registry=self.registry)
        other = prometheus_client.Histogram(
            "time_seconds", "Time.", ["path"], buckets=bounds, registry=theirs
        )
        for value in (0.2, 0.5, 0.7, 1.0, 11.0):
            mine.labels(HARD).observe(value)
            other.labels(HARD).observe(value)
        Gauge("position", HARD, ["b", "a"], registry=self.registry).labels("1", "2").set(float("inf"))
        prometheus_client.Gauge("position", HARD, ["b", "a"], registry=theirs).labels("1", "2").set(
            float("inf")
        )
        expected = prometheus_client.generate_latest(theirs).decode().splitlines()
        # When a number was first counted says nothing here.
        expected = [line for line in expected if "_created" not in line]
        self.assertEqual(expected, render(self.registry.families).decode().splitlines())

    def test_what_was_removed_is_not_shown(self) -> None:
        gauge = Gauge("lag", "Lag.", ["peer"], registry=self.registry)
        gauge.labels("anna").set(1)
        gauge.remove("anna")
        gauge.remove("nobody")
        self.assertEqual({}, self.samples())

    def test_a_name_is_there_once_and_labels_are_all_given(self) -> None:
        gauge = Gauge("lag", "Lag.", ["peer"], registry=self.registry)
        with self.assertRaises(ValueError):
            Counter("lag", "Lag.", registry=self.registry)
        with self.assertRaises(ValueError):
            gauge.labels()
