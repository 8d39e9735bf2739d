"""docs/developers/failover.md: each pitfall has its row, and the tests that it names exist."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]
PITFALLS = 24
NOT_SERVED = ("15", "16")
"""Rows of what this server does not do yet."""

_NAME = re.compile(r"`(tests\.[a-z0-9_.]+|test_[a-z0-9_]+)`")


def _rows() -> list[list[str]]:
    lines = (ROOT / "docs" / "developers" / "failover.md").read_text().splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")
    ]


def _named(cell: str) -> Iterator[tuple[str, str]]:
    """Module and name of each test."""
    module = ""
    for name in _NAME.findall(cell):
        if name.startswith("tests."):
            module = name
        else:
            yield module, name


def _has_test(module: str, name: str) -> bool:
    return any(
        hasattr(value, name) for value in vars(import_module(module)).values() if isinstance(value, type)
    )


class FailoverDocumentTests(SynchronousTestCase):
    def test_every_pitfall_has_a_row_with_tests(self) -> None:
        rows = {row[0]: row for row in _rows() if row[0].isdigit()}
        self.assertEqual(list(rows), [str(number) for number in range(1, PITFALLS + 1)])
        without = [number for number, row in rows.items() if not list(_named(row[-1]))]
        self.assertEqual(without, list(NOT_SERVED))

    def test_every_test_that_is_named_exists(self) -> None:
        named = [each for row in _rows() for each in _named(row[-1])]
        self.assertGreater(len(named), PITFALLS)
        missing = [f"{module}: {name}" for module, name in named if not _has_test(module, name)]
        self.assertEqual(missing, [])
