"""The account of operations called, and the list of those that are missing."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support import coverage_report
from tests.support.coverage import CoverageRecorder, coverage_path, recorded_operations
from tests.support.not_yet import parse_not_yet
from tests.support.openapi import Operation, specification


def operation(name: str) -> Operation:
    return next(one for one in specification().operations() if one.name == name)


class CoverageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).resolve()
        environment = patch.dict("os.environ", {"POPCUBE_API_COVERAGE": str(self.path)})
        environment.start()
        self.addCleanup(environment.stop)

    def test_only_success_counts(self) -> None:
        recorder = CoverageRecorder(coverage_path())
        recorder.record(operation("cs sync"), 200)
        recorder.record(operation("cs login"), 403)
        self.assertEqual(recorded_operations(self.path), {"cs sync"})

    def test_several_recorders_share_a_file(self) -> None:
        for name in ("cs sync", "cs login", "cs sync"):
            CoverageRecorder(self.path).record(operation(name), 200)
        self.assertEqual(recorded_operations(self.path), {"cs sync", "cs login"})

    def test_report_lists_what_no_test_called(self) -> None:
        before = self.report()
        self.assertIn("/_matrix/client/v3/sync  (sync)", before)
        CoverageRecorder(self.path).record(operation("cs sync"), 200)
        self.assertNotIn("(sync)", self.report())
        self.report("--reset")
        self.assertEqual(self.report(), before)

    def test_check_makes_a_gap_an_error(self) -> None:
        self.report("--check", status=1)
        recorder = CoverageRecorder(self.path)
        for one in specification().operations():
            recorder.record(one, 200)
        self.report("--check", status=0)

    def report(self, *arguments: str, status: int = 0) -> str:
        printed = io.StringIO()
        with patch.object(sys, "argv", ["coverage_report", *arguments]), redirect_stdout(printed):
            self.assertEqual(coverage_report.main(), status)
        return printed.getvalue()


class NotYetTests(SynchronousTestCase):
    def test_reason_stands_before_its_operations(self) -> None:
        listed = parse_not_yet("# Needs e-mail.\nGET /a\nPUT /b putB\n\n# Later.\nGET /c\n")
        self.assertEqual(
            {(entry.path, entry.operation_id, entry.reason) for entry in listed},
            {("GET /a", "", "Needs e-mail."), ("PUT /b", "putB", "Needs e-mail."), ("GET /c", "", "Later.")},
        )
