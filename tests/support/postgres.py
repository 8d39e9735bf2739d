"""A real PostgreSQL for tests, started by the first test of the process that asks for one.

Each process of a test run (`trial -j2` has two) has its own, in a temporary directory, for as long as the
process lives; `postgres_guard` sees to that. A test gets a fresh, empty database in it.
"""

import functools
import json
import subprocess
import sys
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parents[2]
PORT = 5432


@dataclass(frozen=True)
class PostgresArgs:
    """Where a database is; `host` is the directory of a Unix socket. No password is needed."""

    host: str
    port: int
    user: str
    dbname: str

    def as_connect_arguments(self) -> dict[str, Any]:
        """Arguments of `psycopg2.connect`, and so `database.args` of the configuration."""
        return {"host": self.host, "port": self.port, "user": self.user, "dbname": self.dbname}


@dataclass(frozen=True)
class RunningPostgres:
    """A PostgreSQL that lives until this process ends."""

    guard: subprocess.Popen[str]
    host: str
    user: str
    problem: str

    def database(self, name: str) -> PostgresArgs:
        return PostgresArgs(host=self.host, port=PORT, user=self.user, dbname=name)

    def execute(self, statement: sql.Composable) -> None:
        """Run one statement that cannot stand in a transaction."""
        with closing(psycopg2.connect(**self.database("postgres").as_connect_arguments())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)


@functools.cache
def running_postgres(durability: str) -> RunningPostgres:
    """The one of this process, `fast` or `durable`: starting one takes a second."""
    return start_postgres(durability)


def start_postgres(durability: str) -> RunningPostgres:
    """One more, `fast` or `durable`."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.support.postgres_guard", durability],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        # Ctrl-C in the terminal reaches the tests only; this process follows when they have ended.
        start_new_session=True,
    )
    line = guard.stdout.readline() if guard.stdout is not None else ""
    answer = json.loads(line) if line else {"error": "The process that runs PostgreSQL ended without a word."}
    return RunningPostgres(
        guard=guard,
        host=answer.get("socket_directory", ""),
        user=answer.get("user", ""),
        problem=answer.get("error", ""),
    )


def postgres_database(test: SynchronousTestCase) -> PostgresArgs:
    """A fresh, empty database, dropped at the end of the test.

    It forgets what it promised if the machine loses power, and is quick. Without PostgreSQL the test fails.
    """
    return _fresh_database(test, "fast")


def durable_postgres_database(test: SynchronousTestCase) -> PostgresArgs:
    """Like `postgres_database`, on a PostgreSQL that writes each commit to the disk, as in production."""
    return _fresh_database(test, "durable")


def _fresh_database(test: SynchronousTestCase, durability: str) -> PostgresArgs:
    postgres = running_postgres(durability)
    if postgres.problem:
        test.fail(postgres.problem)
    name = f"test_{uuid.uuid4().hex}"
    postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    test.addCleanup(postgres.execute, drop)
    return postgres.database(name)
