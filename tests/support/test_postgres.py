"""The PostgreSQL that other tests stand on."""

import os
import select
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.support.postgres import CHECKOUT, PostgresArgs, durable_postgres_database, postgres_database

START_AND_REPORT = """
import sys
from tests.support.postgres import running_postgres
postgres = running_postgres("fast")
print(postgres.guard.pid, postgres.host, flush=True)
sys.stdin.read()
"""
END_DEADLINE_S = 30.0


def query(database: PostgresArgs, statement: str) -> list[tuple[object, ...]]:
    with (
        closing(psycopg2.connect(**database.as_connect_arguments())) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return cursor.fetchall()


class PostgresTests(SynchronousTestCase):
    def test_each_database_is_empty_and_its_own(self) -> None:
        first, second = postgres_database(self), postgres_database(self)
        with closing(psycopg2.connect(**first.as_connect_arguments())) as connection:
            connection.cursor().execute("CREATE TABLE mine (x INTEGER)")
            connection.commit()
        count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        self.assertEqual(query(first, count), [(1,)])
        self.assertEqual(query(second, count), [(0,)])

    def test_text_is_utf8_and_sorted_by_code_point(self) -> None:
        database = postgres_database(self)
        self.assertEqual(query(database, "SHOW server_encoding"), [("UTF8",)])
        self.assertEqual(query(database, "SELECT 'Z' < 'a', 'é' > 'z'"), [(True, True)])

    def test_database_is_dropped_when_its_test_ends(self) -> None:
        inner = SynchronousTestCase()
        database = postgres_database(inner)
        observer = postgres_database(self)
        known = f"SELECT count(*) FROM pg_database WHERE datname = '{database.dbname}'"
        self.assertEqual(query(observer, known), [(1,)])
        with closing(psycopg2.connect(**database.as_connect_arguments())):
            inner.doCleanups()
            self.assertEqual(query(observer, known), [(0,)])

    def test_durable_database_writes_each_commit_to_the_disk(self) -> None:
        database = durable_postgres_database(self)
        self.assertEqual(query(database, "SHOW fsync"), [("on",)])
        self.assertEqual(query(database, "SHOW synchronous_commit"), [("on",)])

    def test_nothing_is_left_after_the_test_run_is_killed(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", START_AND_REPORT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        guard_pid, host = process.stdout.readline().split()
        postmaster_pid = (Path(host) / "data" / "postmaster.pid").read_text().splitlines()[0]
        guard, postmaster = self.watch(int(guard_pid)), self.watch(int(postmaster_pid))
        process.kill()
        process.communicate()
        self.assertTrue(has_ended(postmaster))
        self.assertTrue(has_ended(guard))
        self.assertFalse(Path(host).exists())

    def watch(self, pid: int) -> int:
        descriptor = os.pidfd_open(pid)
        self.addCleanup(os.close, descriptor)
        return descriptor


def has_ended(process_descriptor: int) -> bool:
    """Wait for it. The descriptor of a process becomes readable when it ends."""
    return bool(select.select([process_descriptor], [], [], END_DEADLINE_S)[0])
