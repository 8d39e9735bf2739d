"""How large a database is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg2

from tests.support.configuration import Database
from tests.support.postgres import PostgresArgs


def database_bytes(database: Database, directory: Path) -> int:
    """Of the tables and indexes, on disk. `directory` is the server's."""
    if isinstance(database, PostgresArgs):
        with (
            closing(psycopg2.connect(**database.as_connect_arguments())) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_database_size(current_database())")
            row = cursor.fetchone()
            return int(row[0]) if row else 0
    path = directory / "homeserver.db"
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        # What is in the log of writes only is not counted: it is written over again and again.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    return path.stat().st_size
