"""Every benchmark at its smallest size, on this server alone: it works, whatever time it takes."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.comparison import Comparison, running_sites
from benchmarks.report import describe_run, write
from benchmarks.site import SiteName
from benchmarks.sizes import SMOKE
from benchmarks.workloads.every import KINDS

OURS = SiteName("sqlite", "ours")


class SmokeTests(SynchronousTestCase):
    def test_every_kind_of_work_is_measured_and_reported(self) -> None:
        said: list[str] = []
        with running_sites([OURS], Path("no Synapse here")) as sites:
            comparison = Comparison(sites, SMOKE, said.append)
            comparison.run(KINDS, is_synapse_spared=True)
        self.assertEqual(comparison.failures, [])
        for kind in KINDS:
            self.assertTrue(any(line.startswith(f"{kind.name}: turn 1") for line in said), kind.name)
        directory = Path(self.mktemp())
        table = write(directory, describe_run(SMOKE, ["popcube-server"]), comparison.results)
        written = json.loads((directory / "results.json").read_text(encoding="utf-8"))
        for row in written["rows"]:
            self.assertGreater(row["median"]["per_second"], 0, row["work"])
            self.assertGreater(row["median"]["peak_mib"], 0, row["work"])
            self.assertIn(row["work"], table)
        self.assertGreater(len(written["rows"]), len(KINDS))
        ET.parse(directory / "results.svg")
