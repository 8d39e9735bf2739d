"""Brings a database to the newest schema: the files in `migrations/`, in the order of their numbers.

Each runs in a transaction of its own, which begins with the row that says that it ran: of two processes that start
over one database, one waits there for the other and finds the work done. A server refuses a schema that is newer than
its own files.
"""

import re
from collections.abc import Callable
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
    number: int
    statements: tuple[str, ...]


def read_migrations(folder: Path, engine: Engine) -> list[Migration]:
    """All migrations of a folder in order; statements end with a semicolon at the end of a line."""
    migrations = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            migrations.append(
                Migration(int(match[1]), _statements(engine.translate_schema(path.read_text())))
            )
    return migrations


def _statements(text: str) -> tuple[str, ...]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    return tuple(
        piece.strip() for piece in re.split(r";\s*(?:--.*)?$", "\n".join(lines), flags=re.M) if piece.strip()
    )


def migrate(engine: Engine, database: Database, on_step: Callable[[int], None]) -> None:
    """Apply what is missing. Raises `SchemaTooNew` and changes nothing if the database is ahead of this server."""
    migrations = read_migrations(MIGRATIONS, engine)
    applied = _applied(engine, database)
    unknown = applied - {migration.number for migration in migrations}
    if unknown:
        raise SchemaTooNew(f"the database has schema change {max(unknown)}, which this version does not know")
    for migration in migrations:
        if migration.number not in applied and _run(database, migration):
            on_step(migration.number)


def _applied(engine: Engine, database: Database) -> set[int]:
    connection = engine.connect()
    try:
        if not engine.table_exists(connection, "schema_changes"):
            _create_table(engine, connection, database)
    finally:
        connection.close()
    return {row[0] for row in database.read_now(lambda tx: tx.all("SELECT number FROM schema_changes"))}


def _create_table(engine: Engine, connection: Connection, database: Database) -> None:
    try:
        database.write_now(lambda tx: tx.run("CREATE TABLE schema_changes (number BIGINT PRIMARY KEY)"))
    except StorageError:
        # Another process may have made it meanwhile.
        if not engine.table_exists(connection, "schema_changes"):
            raise


def _run(database: Database, migration: Migration) -> bool:
    """False if another process has run it meanwhile."""
    try:
        database.write_now(lambda tx: _apply(tx, migration))
    except AlreadyApplied:
        return False
    return True


class AlreadyApplied(Exception):
    """Another process was quicker."""


def _apply(tx: WriteTransaction, migration: Migration) -> None:
    try:
        # Whoever else is about to do the same waits here until this is on disk.
        tx.run("INSERT INTO schema_changes (number) VALUES (?)", (migration.number,))
    except UniqueViolation:
        raise AlreadyApplied from None
    for statement in migration.statements:
        tx.run(statement)
