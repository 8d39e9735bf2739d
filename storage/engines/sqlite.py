"""SQLite: the embedded default. WAL, so that readers do not wait; `synchronous=FULL`, so that an answer is on disk."""

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from storage.engines.engine import (
    Answer,
    Connection,
    Known,
    Move,
    NotNullViolation,
    Row,
    StorageError,
    Unavailable,
    UniqueViolation,
)
from storage.engines.parameters import take_from_given
from synapse_like_config.database import DatabaseConfig

BUSY_TIMEOUT_S = 30.0
STATEMENT_CACHE_SIZE = 512
READERS = 4

_TAKEN = (
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
)
_BYTES_OF_TEXT = re.compile(r"convert_to\(([\w.]+), 'UTF8'\)")


def _translate(error: sqlite3.Error) -> StorageError:
    # What the module itself refuses has none.
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _TAKEN:
        return UniqueViolation(str(error))
    if code == sqlite3.SQLITE_CONSTRAINT_NOTNULL:
        return NotNullViolation(str(error))
    # The low byte is the primary code.
    if code & 0xFF == sqlite3.SQLITE_BUSY:
        return Unavailable(str(error))
    return StorageError(str(error))


def _with(table: str, columns: Sequence[str], rows: int) -> str:
    """What stands before a statement that reads from such a table of parameters."""
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"WITH {table} ({', '.join(columns)}) AS (VALUES {marks})"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class SqliteConnection:
    """A connection in autocommit mode: transactions begin and end only where we say so."""

    def __init__(self, path: Path, synchronous: str, busy_timeout_s: float) -> None:
        try:
            self._connection = sqlite3.connect(
                path,
                timeout=busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENT_CACHE_SIZE,
            )
        except sqlite3.Error as error:
            raise _translate(error) from error
        self._cursor = self._connection.cursor()
        self._connection.create_function("sha256", 1, _sha256, deterministic=True)
        try:
            self.execute("PRAGMA journal_mode=WAL", ())
            self.execute(f"PRAGMA synchronous={synchronous}", ())
            self.execute("PRAGMA foreign_keys=ON", ())
        except StorageError:
            self._connection.close()
            raise

    def begin_read(self) -> None:
        self.execute("BEGIN", ())

    def begin_write(self) -> None:
        self.execute("BEGIN IMMEDIATE", ())

    def execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        try:
            return self._cursor.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise _translate(error) from error

    def execute_alone(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        return self.execute(sql, parameters)

    def execute_often(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        return self.execute(sql, parameters)

    def execute_each(self, select: str, rows: Sequence[Sequence[int]]) -> list[Row]:
        # A prepared statement that is run again costs less than a longer one that has to be prepared.
        return [found for row in rows for found in self.execute(select, row)]

    def execute_move(self, move: Move, rows: Sequence[Sequence[Any]], values: Sequence[Any]) -> Answer:
        each, columns = take_from_given(move.find)
        found = f"SELECT ({each}) FROM given"  # noqa: S608
        take = move.take.replace("??", found)
        taken = self.execute(f"{_with('given', columns, len(rows))} {take}", [*chain.from_iterable(rows)])
        if taken:
            columns = move.take.rpartition("RETURNING ")[2].split(", ")
            keep = move.keep.replace("AS BYTEA", "AS BLOB")
            statement = f"{_with('taken', columns, len(taken))} {keep}"
            self.execute(statement, [*chain.from_iterable(taken), *values])
        return Known(taken)

    def stream(self, sql: str, page_rows: int) -> Iterator[list[Row]]:
        try:
            cursor = self._connection.execute(sql)
            while rows := cursor.fetchmany(page_rows):
                yield rows
        except sqlite3.Error as error:
            raise _translate(error) from error

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._cursor.executemany(sql, rows)
        except sqlite3.Error as error:
            raise _translate(error) from error

    def execute_later(self, sql: str, rows: Sequence[Sequence[Any]], taken: Exception | None = None) -> None:
        # There is no way to the database that could be saved.
        try:
            self.execute_many(sql, rows)
        except UniqueViolation as error:
            if taken is not None:
                raise taken from error
            raise

    def commit(self) -> None:
        self.execute("COMMIT", ())

    def rollback(self) -> None:
        # SQLite has already rolled back by itself after some errors (disk full).
        if self._connection.in_transaction:
            self.execute("ROLLBACK", ())

    def close(self) -> None:
        self._connection.close()


class SqliteEngine:
    """One file. Its folder must exist. Only tests may give another `synchronous`: an answer must be on disk."""

    def __init__(
        self,
        path: Path,
        readers: int,
        synchronous: str = "FULL",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._synchronous = synchronous
        self.readers = readers

    def connect(self) -> SqliteConnection:
        return SqliteConnection(self._path, self._synchronous, self._busy_timeout_s)

    def table_exists(self, connection: Connection, table: str) -> bool:
        return bool(
            connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        )

    def table_names(self, connection: Connection) -> list[str]:
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
            (),
        )
        return [row[0] for row in rows]

    def column_names(self, connection: Connection, table: str) -> list[str]:
        rows = connection.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))
        return [row[0] for row in rows]

    def translate_schema(self, sql: str) -> str:
        # Only a key declared exactly so is SQLite's own row number, without an index beside the table.
        sql = sql.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY")
        return _BYTES_OF_TEXT.sub(r"CAST(\1 AS BLOB)", sql)


def open_engine(database: DatabaseConfig) -> SqliteEngine:
    path = Path(database.sqlite_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return SqliteEngine(path, READERS)
