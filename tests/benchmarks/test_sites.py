"""The benchmark of two sites at its smallest size: it works, whatever time it takes."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.sites import SMOKE, measure, render, write


class SitesSmokeTests(SynchronousTestCase):
    def test_everything_is_measured_and_reported(self) -> None:
        measured = measure("sqlite", SMOKE, lambda text: None)
        path = write(Path(self.mktemp()), "sqlite", SMOKE, measured)
        figures = json.loads(path.read_text(encoding="utf-8"))["measured"]
        self.assertEqual(
            list(figures),
            ["steady, local", "answers, local", "catching up", "steady, site", "answers, site"],
        )
        self.assertGreater(figures["catching up"]["backlog"], 0)
        self.assertGreater(figures["catching up"]["per_second"], 0)
        self.assertGreater(figures["steady, local"]["messages"], 0)
        self.assertIn("catching up with 60 messages", render("sqlite", SMOKE, measured))
