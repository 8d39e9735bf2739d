"""The text that Prometheus reads, compared with what its own library writes and understands."""

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.exposition import Counter, Gauge, Histogram, Registry


class ExpositionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()

    def fill(self, kinds: object, registry: object) -> None:
        """The same with our kinds of metrics, and with those of the library."""
        requests = kinds.Counter(
            "a_requests_total", "Requests.\nAll\\of them.", ["path", "code"], registry=registry
        )
        requests.labels('/x"y\\z\n', "200").inc()
        requests.labels('/x"y\\z\n', "200").inc(2.5)
        requests.labels("", "é").inc()
        kinds.Counter("b_total", "None yet.", registry=registry)
        gauge = kinds.Gauge("c", "A level.", registry=registry)
        gauge.set(-3)
        asked = kinds.Gauge("d", "Asked for.", ["peer"], registry=registry)
        asked.labels("one").set_function(lambda: 12345678901234567890)
        asked.labels("two").set(float("inf"))
        asked.labels("three").set(1)
        asked.remove("three")
        sizes = kinds.Histogram("e", "Sizes.", buckets=(1, 2.5, 10), registry=registry)
        for value in (0, 1, 1.5, 10, 11):
            sizes.observe(value)
        kinds.Histogram("f", "Of none.", ["x"], buckets=(1,), registry=registry)

    def test_the_text_says_what_that_of_the_library_says(self) -> None:
        self.fill(Ours, self.registry)
        theirs = prometheus_client.CollectorRegistry()
        self.fill(prometheus_client, theirs)
        self.assertEqual(
            read(self.registry.render()), read(prometheus_client.generate_latest(theirs), without="_created")
        )

    def test_nothing_is_no_text(self) -> None:
        self.assertEqual(self.registry.render(), b"")

    def test_a_name_is_given_once(self) -> None:
        Gauge("a", "One.", registry=self.registry)
        self.assertRaises(ValueError, Counter, "a", "Another.", registry=self.registry)

    def test_labels_must_be_as_many_as_their_names(self) -> None:
        counter = Counter("a_total", "One.", ["x"], registry=self.registry)
        self.assertRaises(ValueError, counter.labels, "1", "2")

    def test_a_number_can_be_asked_for_by_its_name(self) -> None:
        self.fill(Ours, self.registry)
        self.assertEqual(self.registry.get_sample_value("c"), -3)
        self.assertEqual(self.registry.get_sample_value("e_count"), 5)
        self.assertIsNone(self.registry.get_sample_value("d"))


class Ours:
    Counter, Gauge, Histogram = Counter, Gauge, Histogram


def read(text: bytes, without: str = "\0") -> list[tuple[object, ...]]:
    """What a reader of the text learns."""
    return [
        (
            family.name,
            family.documentation,
            family.type,
            sorted((s.name, sorted(s.labels.items()), s.value) for s in family.samples),
        )
        for family in text_string_to_metric_families(text.decode())
        if without not in family.name
    ]
