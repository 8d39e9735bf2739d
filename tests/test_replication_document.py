"""Each table says in docs/replication.md how sites merge it."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]

_CREATE_TABLE = re.compile(r"CREATE TABLE (\w+)")
_DROP_TABLE = re.compile(r"^DROP TABLE (\w+)", re.M)
_RENAME_TABLE = re.compile(r"^ALTER TABLE (\w+) RENAME TO (\w+)", re.M)
_ROW = re.compile(r"^\| ([a-z_, ]+) \|", re.M)


class ReplicationDocumentTests(SynchronousTestCase):
    def test_every_table_has_a_line_and_every_line_a_table(self) -> None:
        tables = {"schema_changes"}
        for path in sorted((ROOT / "storage" / "migrations").glob("*.sql")):
            tables.difference_update(_DROP_TABLE.findall(path.read_text()))
            tables.update(_CREATE_TABLE.findall(path.read_text()))
            for old, new in _RENAME_TABLE.findall(path.read_text()):
                tables.remove(old)
                tables.add(new)
        text = (
            (ROOT / "docs" / "replication.md").read_text().partition("## The tables")[2].partition("\n## ")[0]
        )
        described = [name for row in _ROW.findall(text) for name in row.split(", ") if name != "table"]
        self.assertEqual(sorted(described), sorted(tables))
