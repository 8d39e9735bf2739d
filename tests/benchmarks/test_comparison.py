"""A run goes on when something could not be measured, and says what."""

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.comparison import Comparison
from benchmarks.load import Result
from benchmarks.site import Site, SiteName
from benchmarks.sizes import SMOKE, Sizes
from benchmarks.workload import Kind

RESULT = Result(1, 1.0, 0.1, 0.0, [0.1], 50.0)


class Works:
    def __init__(self, site: Site, sizes: Sizes) -> None:
        pass

    def turn(self) -> Iterator[tuple[str, Result]]:
        yield "works", RESULT


class BreaksOff(Works):
    def turn(self) -> Iterator[tuple[str, Result]]:
        yield "measured before", RESULT
        raise TimeoutError("nothing came")


class CannotBegin(Works):
    def __init__(self, site: Site, sizes: Sizes) -> None:
        raise TimeoutError("nobody there")


class ComparisonTests(SynchronousTestCase):
    def test_a_kind_of_work_that_fails_costs_its_own_rows_alone(self) -> None:
        site = object.__new__(Site)
        site.name = SiteName("sqlite", "ours")
        comparison = Comparison([site], SMOKE, lambda line: None)
        kinds = [Kind("first", CannotBegin), Kind("second", BreaksOff), Kind("third", Works)]
        comparison.run(kinds, is_synapse_spared=True)
        self.assertEqual([row for row, _ in comparison.results.rows()], ["measured before", "works"])
        self.assertEqual(
            comparison.failures,
            [
                "first on ours/sqlite, preparing failed: TimeoutError('nobody there')",
                "second on ours/sqlite, turn 1 failed: TimeoutError('nothing came')",
            ],
        )
