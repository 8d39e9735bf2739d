"""Each table says in docs/replication.md how sites merge it."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]

_TABLES = re.compile(r"^(CREATE|DROP|ALTER) TABLE (\w+)(?: RENAME TO (\w+))?", re.M)
_ROW = re.compile(r"^\| ([a-z_, ]+) \|", re.M)


class ReplicationDocumentTests(SynchronousTestCase):
    def test_every_table_has_a_line_and_every_line_a_table(self) -> None:
        tables = {"schema_changes"}
        for path in sorted((ROOT / "storage" / "migrations").glob("*.sql")):
            for verb, table, new_name in _TABLES.findall(path.read_text()):
                match verb:
                    case "CREATE":
                        tables.add(table)
                    case "DROP":
                        tables.remove(table)
                    case _ if new_name:
                        tables.remove(table)
                        tables.add(new_name)
        text = (
            (ROOT / "docs" / "replication.md").read_text().partition("## The tables")[2].partition("\n## ")[0]
        )
        described = [name for row in _ROW.findall(text) for name in row.split(", ") if name != "table"]
        self.assertEqual(sorted(described), sorted(tables))
