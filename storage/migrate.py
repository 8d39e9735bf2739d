"""Brings a database to the newest schema: the files in `migrations/`, in the order of their numbers.

Each runs in a transaction of its own, which begins with the row that says that it ran: of two processes that start
over one database, one waits there for the other and finds the work done. A server refuses a schema that is newer than
its own files.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from storage.database import Database, WriteTransaction
from storage.engines.engine import Connection, Engine, StorageError, UniqueViolation
from synapse_like_config.lazy_dataclasses import dataclass

MIGRATIONS = Path(__file__).parent / "migrations"

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class SchemaTooNew(Exception):
    """The database was made by a newer version of this server."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file that is read when it is needed: at most starts nothing is missing."""

    number: int
    path: Path

    def read_statements(self, engine: Engine) -> tuple[str, ...]:
        """They end with a semicolon at the end of a line."""
        return _statements(engine.translate_schema(self.path.read_text()))


def find_migrations(folder: Path) -> list[Migration]:
    """All migrations of a folder in order."""
    matches = ((path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [Migration(int(match[1]), path) for path, match in matches if match is not None]


def _statements(text: str) -> tuple[str, ...]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    return tuple(
        piece.strip() for piece in re.split(r";\s*(?:--.*)?$", "\n".join(lines), flags=re.M) if piece.strip()
    )


def migrate(engine: Engine, database: Database, on_step: Callable[[int], None]) -> None:
    """Apply what is missing. Raises `SchemaTooNew` and changes nothing if the database is ahead of this server."""
    migrations = find_migrations(MIGRATIONS)
    applied = _applied(engine, database)
    unknown = applied - {migration.number for migration in migrations}
    if unknown:
        raise SchemaTooNew(f"the database has schema change {max(unknown)}, which this version does not know")
    for migration in migrations:
        if migration.number not in applied and _run(engine, database, migration):
            on_step(migration.number)


def _applied(engine: Engine, database: Database) -> set[int]:
    try:
        return _read_numbers(database)
    except StorageError:
        connection = engine.connect()
        try:
            # It is missing from a new database alone. Another process may make it meanwhile.
            if engine.table_exists(connection, "schema_changes"):
                return _read_numbers(database)
            _create_table(engine, connection, database)
        finally:
            connection.close()
    return _read_numbers(database)


def _read_numbers(database: Database) -> set[int]:
    return {row[0] for row in database.read_now(lambda tx: tx.all("SELECT number FROM schema_changes"))}


def _create_table(engine: Engine, connection: Connection, database: Database) -> None:
    try:
        database.write_now(lambda tx: tx.run("CREATE TABLE schema_changes (number BIGINT PRIMARY KEY)"))
    except StorageError:
        # Another process may have made it meanwhile.
        if not engine.table_exists(connection, "schema_changes"):
            raise


def _run(engine: Engine, database: Database, migration: Migration) -> bool:
    """False if another process has run it meanwhile."""
    statements = migration.read_statements(engine)
    try:
        database.write_now(lambda tx: _apply(tx, migration.number, statements))
    except AlreadyApplied:
        return False
    return True


class AlreadyApplied(Exception):
    """Another process was quicker."""


def _apply(tx: WriteTransaction, number: int, statements: Iterable[str]) -> None:
    try:
        # Whoever else is about to do the same waits here until this is on disk.
        tx.run("INSERT INTO schema_changes (number) VALUES (?)", (number,))
    except UniqueViolation:
        raise AlreadyApplied from None
    for statement in statements:
        tx.run(statement)
