"""What a run found goes to the README, between two marks, and nothing else there changes."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load import Result
from benchmarks.publish import BEGIN, END, ROOT, publish
from benchmarks.report import describe_run, write
from benchmarks.results import Results
from benchmarks.site import SiteName
from benchmarks.sizes import SMOKE


class PublishTests(SynchronousTestCase):
    def setUp(self) -> None:
        results = Results()
        for server, cpu_s in (("ours", 0.1), ("synapse", 1.6)):
            site = SiteName("postgres", server)
            results.add("send, 8 clients in 8 rooms", site, Result(10, 2.0, cpu_s, 0.0, [0.1] * 10, 50.0))
        self.results = Path(self.mktemp())
        write(self.results, describe_run(SMOKE, ["popcube-server 9"]), results)
        self.root = Path(self.mktemp())
        self.root.mkdir()

    def test_table_stands_between_the_marks_and_is_replaced_the_next_time(self) -> None:
        readme = self.root / "README.md"
        readme.write_text(f"before\n{BEGIN}\nan old table\n{END}\nafter\n", encoding="utf-8")
        publish(self.results, self.root)
        once = readme.read_text(encoding="utf-8")
        publish(self.results, self.root)
        self.assertEqual(readme.read_text(encoding="utf-8"), once)
        self.assertTrue(once.startswith(f"before\n{BEGIN}\n\npopcube-server 9; "))
        self.assertTrue(once.endswith(f"{END}\nafter\n"))
        self.assertIn("10.0 / 160 (**16.0**)", once)
        self.assertNotIn("an old table", once)
        self.assertTrue((self.root / "docs/benchmark/results.svg").exists())

    def test_readme_without_marks_is_left_alone(self) -> None:
        readme = self.root / "README.md"
        readme.write_text("nothing here\n", encoding="utf-8")
        with self.assertRaises(ValueError):
            publish(self.results, self.root)
        self.assertEqual(readme.read_text(encoding="utf-8"), "nothing here\n")
        self.assertFalse((self.root / "docs").exists())

    def test_projects_own_readme_has_the_marks(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertEqual((text.count(BEGIN), text.count(END)), (1, 1))
