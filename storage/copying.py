"""A copy of an organisation's whole database in one file, independent of the engine: how a new site begins.

The file is gzip of lines of JSON. The first line says what the copy is of (`CopyHeader`); then for each table a line
with its name and columns, and one line per row, a list in which bytes are {"b": <base64>}.
"""

import base64
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from storage.database import Database, Transaction, WriteTransaction
from storage.engines.engine import Connection, Engine, Row
from synapse_like_config.lazy_dataclasses import dataclass

FORMAT: Final = 1
PAGE_ROWS: Final = 2_000
COMPRESSION: Final = 1
"""The links between sites are quick, and so should the copy be."""


class InvalidCopy(Exception):
    """The file is not a copy, or not one that this version of the server can load."""


@dataclass(frozen=True, slots=True)
class CopyHeader:
    """`position` is where the log stood, `rows` how many there are in all tables together."""

    schema: Sequence[int]
    position: int
    rows: int


Progress = Callable[[int, int], None]
"""Rows done, rows in all."""


class WriteCopy:
    """Writes copies. It reads one snapshot; the server goes on meanwhile."""

    def __init__(self, engine: Engine, skipped: frozenset[str]) -> None:
        """`skipped`: tables that mean something on this site only; the copy has them without rows."""
        self._engine = engine
        self._skipped = skipped

    def write(self, path: Path, progress: Progress) -> CopyHeader:
        """On the calling thread. The file is there, whole, when this returns."""
        connection = self._engine.connect()
        try:
            connection.begin_read()
            partial = path.with_suffix(".partial")
            with gzip.open(partial, "wb", COMPRESSION) as file:
                header = self._write(connection, file, progress)
            partial.replace(path)
            connection.rollback()
            return header
        finally:
            connection.close()

    def _write(self, connection: Connection, file: gzip.GzipFile, progress: Progress) -> CopyHeader:
        tables = [name for name in self._engine.table_names(connection) if name not in self._skipped]
        rows = sum(_one(connection, f"SELECT COUNT(*) FROM {table}") for table in tables)  # noqa: S608
        schema = [
            row[0] for row in connection.execute("SELECT number FROM schema_changes ORDER BY number", ())
        ]
        header = CopyHeader(schema, _one(connection, "SELECT position FROM log_head"), rows)
        _line(file, {"format": FORMAT, "schema": schema, "position": header.position, "rows": rows})
        done = 0
        for table in tables:
            columns = self._engine.column_names(connection, table)
            _line(file, {"table": table, "columns": columns})
            for page in connection.stream(f"SELECT {', '.join(columns)} FROM {table}", PAGE_ROWS):  # noqa: S608
                for row in page:
                    _line(file, row)
                done += len(page)
                progress(done, rows)
        return header


def _one(connection: Connection, sql: str) -> int:
    return int(connection.execute(sql, ())[0][0])


def _line(file: gzip.GzipFile, value: object) -> None:
    file.write(orjson.dumps(value, default=_bytes, option=orjson.OPT_APPEND_NEWLINE))


def _bytes(value: object) -> Mapping[str, str]:
    if isinstance(value, bytes | memoryview):
        return {"b": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is in no column")


class LoadCopy:
    """Loads a copy into a database of the same schema. What was in it is gone."""

    def __init__(self, engine: Engine, database: Database, kept: frozenset[str] = frozenset()) -> None:
        """`kept`: tables that stay as they are; they should be left out of the copy."""
        self._engine = engine
        self._database = database
        self._kept = kept | {"schema_changes"}

    def load(self, path: Path, progress: Progress) -> CopyHeader:
        """On the calling thread. Begin again after an interruption: until it is done the database is of no use.

        Raises `InvalidCopy`, OSError.
        """
        with gzip.open(path, "rb") as file:
            header = read_header(file)
            ours = self._database.read_now(
                lambda tx: [row[0] for row in tx.all("SELECT number FROM schema_changes ORDER BY number")]
            )
            if list(header.schema) != ours:
                raise InvalidCopy("the copy is of another version of the server: update both sites first")
            self._empty()
            done = 0
            for insert, rows in _pages(file):
                self._database.write_now(lambda tx, sql=insert, page=rows: tx.many(sql, page))  # type: ignore[misc]
                done += len(rows)
                progress(done, header.rows)
        return header

    def _empty(self) -> None:
        def empty(tx: WriteTransaction) -> None:
            for table in self._tables():
                if table not in self._kept:
                    tx.run(f"DELETE FROM {table}")  # noqa: S608

        self._database.write_now(empty)

    def _tables(self) -> list[str]:
        connection = self._engine.connect()
        try:
            return self._engine.table_names(connection)
        finally:
            connection.close()


def read_header(file: gzip.GzipFile) -> CopyHeader:
    """The first line of a copy. Raises `InvalidCopy`."""
    try:
        value = orjson.loads(file.readline())
        if value["format"] != FORMAT:
            raise InvalidCopy(f"the copy has format {value['format']}, not {FORMAT}")
        return CopyHeader(value["schema"], value["position"], value["rows"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InvalidCopy(f"not a copy: {error}") from None


def _pages(file: gzip.GzipFile) -> Iterator[tuple[str, list[Row]]]:
    """INSERT statements with their rows."""
    insert = ""
    page: list[Row] = []
    for line in file:
        value = orjson.loads(line)
        if isinstance(value, dict):
            if page:
                yield insert, page
            page = []
            insert = _insert(value["table"], value["columns"])
            continue
        page.append(tuple(map(_value, value)))
        if len(page) >= PAGE_ROWS:
            yield insert, page
            page = []
    if page:
        yield insert, page


def _insert(table: str, columns: Sequence[str]) -> str:
    # The loading side ran the same migrations itself.
    known = " ON CONFLICT DO NOTHING" if table == "schema_changes" else ""
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}){known}"  # noqa: S608


def _value(value: Any) -> Any:
    return base64.b64decode(value["b"]) if isinstance(value, dict) else value


def is_empty(tx: Transaction) -> bool:
    """Whether nothing was ever written to this database: what a copy may be loaded into."""
    return int(tx.value("SELECT position FROM log_head")) == 0
