"""Runs of different kinds of work become one table."""

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load import Result
from benchmarks.merge import merge
from benchmarks.report import describe_run, write
from benchmarks.results import Results
from benchmarks.site import SiteName
from benchmarks.sizes import SMOKE


class MergeTests(SynchronousTestCase):
    def run_of(self, row: str, version: str = "popcube-server 9", cpu_s: float = 0.1) -> Path:
        results = Results()
        for server, used_s in (("ours", cpu_s), ("synapse", 16 * cpu_s)):
            for turn in (1, 2):
                result = Result(10, 2.0, used_s * turn, 0.0, [0.1] * 10, 50.0)
                results.add(row, SiteName("postgres", server), result)
        folder = Path(self.mktemp())
        write(folder, describe_run(SMOKE, [version]), results)
        return folder

    def test_rows_of_all_runs_are_there_with_their_turns(self) -> None:
        one, other, output = self.run_of("log in"), self.run_of("register"), Path(self.mktemp())
        table = merge([one, other], output)
        self.assertEqual(table, (output / "results.md").read_text(encoding="utf-8"))
        rows = json.loads((output / "results.json").read_text(encoding="utf-8"))["rows"]
        theirs = [
            json.loads((run / "results.json").read_text(encoding="utf-8"))["rows"] for run in (one, other)
        ]
        self.assertEqual(rows, [row for run in theirs for row in run])

    def test_what_was_measured_again_takes_the_place_of_what_was_there(self) -> None:
        first, other = self.run_of("log in"), self.run_of("register")
        again, output = self.run_of("log in", cpu_s=0.7), Path(self.mktemp())
        merge([first, other, again], output)
        rows = json.loads((output / "results.json").read_text(encoding="utf-8"))["rows"]
        self.assertEqual([row["work"] for row in rows], ["log in", "log in", "register", "register"])
        own = json.loads((again / "results.json").read_text(encoding="utf-8"))["rows"]
        self.assertEqual(rows[:2], own)

    def test_runs_that_do_not_belong_together_are_refused(self) -> None:
        output = Path(self.mktemp())
        with self.assertRaises(ValueError):
            merge([self.run_of("log in"), self.run_of("register", "popcube-server 10")], output)
        self.assertFalse(output.exists())
