"""Figures of several turns become one table and one picture."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import plot, table
from benchmarks.load import Result
from benchmarks.results import Results
from benchmarks.site import SiteName

OURS = SiteName("postgres", "ours")
SYNAPSE = SiteName("postgres", "synapse")


def taking(server_cpu_s: float, database_cpu_s: float) -> Result:
    """Ten operations in two seconds."""
    return Result(10, 2.0, server_cpu_s, database_cpu_s, [0.1] * 9 + [0.5], 50.0)


class ResultsTests(SynchronousTestCase):
    def test_figures_are_of_one_operation(self) -> None:
        result = taking(0.2, 0.05)
        self.assertEqual(
            (result.per_second, result.server_ms, result.database_ms, result.percentile_ms(0.5)),
            (5.0, 20.0, 5.0, 100.0),
        )
        self.assertEqual(result.percentile_ms(0.99), 500.0)

    def test_slow_turn_does_not_move_the_median(self) -> None:
        results = Results()
        for cpu_s in (0.2, 9.0, 0.3):
            results.add("work", OURS, taking(cpu_s, 0.0))
        [(_, sites)] = results.rows()
        self.assertAlmostEqual(sites[OURS].server_cpu_ms, 30.0)

    def test_ratio_of_cpu_counts_server_and_database(self) -> None:
        results = Results()
        results.add("work", OURS, taking(0.1, 0.1))
        results.add("work", SYNAPSE, taking(1.0, 2.0))
        [(_, sites)] = results.rows()
        self.assertAlmostEqual(table.cpu_ratio(sites, "postgres") or 0.0, 15.0)
        self.assertIsNone(table.cpu_ratio(sites, "sqlite"))
        self.assertIn("15.0", table.render(results))

    def test_growth_is_shown_where_it_was_measured(self) -> None:
        results = Results()
        results.add("grows", OURS, replace(taking(0.1, 0.1), grown_bytes=12_000))
        results.add("does not", OURS, taking(0.1, 0.1))
        grows, other = table.render(results).splitlines()[-2:]
        self.assertIn("1,200 / ", grows)
        self.assertNotIn("1,200", other)
        self.assertTrue(other.endswith("|"))

    def test_picture_has_a_bar_for_each_row_that_can_be_compared(self) -> None:
        results = Results()
        results.add("compared <here>", OURS, taking(0.1, 0.1))
        results.add("compared <here>", SYNAPSE, taking(1.0, 2.0))
        results.add("ours alone", OURS, taking(0.1, 0.1))
        texts = [element.text for element in ET.fromstring(plot.render(results)).iter()]
        self.assertIn("compared <here>", texts)
        self.assertNotIn("ours alone", texts)
