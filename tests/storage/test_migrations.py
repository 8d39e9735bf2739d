"""Two processes that start at once over one new database: each finds it whole, and nothing runs twice."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from storage.database import Database, Transaction
from storage.engines.engine import Connection, Engine, StorageError
from storage.migrate import MIGRATIONS, SchemaTooNew, find_migrations, migrate
from storage.names import Names
from tests.storage.storage_case import PostgresStorage, SqliteStorage, synchronous

T = TypeVar("T")


class Unaware:
    """An engine as it looks to a process that asks before another one has made the first table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_first = True

    def table_exists(self, connection: Connection, table: str) -> bool:
        if self._is_first:
            self._is_first = False
            return False
        return self._engine.table_exists(connection, table)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class LateDatabase(Database):
    """What it asks first, it asks before another process has made the first table."""

    is_first = True

    def read_now(self, work: Callable[[Transaction], T]) -> T:
        if self.is_first:
            self.is_first = False
            raise StorageError("no such table")
        return super().read_now(work)


class MigrationsTests:
    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.engine: Engine = self.make_engine()  # type: ignore[attr-defined]
        self.numbers = [migration.number for migration in find_migrations(MIGRATIONS)]
        self.ran: list[tuple[str, int]] = []

    def process(self) -> Database:
        database = Database(self.engine, synchronous, synchronous, Names(1000))
        self.addCleanup(database.close)  # type: ignore[attr-defined]
        return database

    def applied(self, database: Database) -> list[int]:
        rows = database.read_now(lambda tx: tx.all("SELECT number FROM schema_changes ORDER BY number"))
        return [row[0] for row in rows]

    def test_two_processes_that_start_at_once_do_each_step_once(self) -> None:
        one, two = self.process(), self.process()

        def step_of_one(number: int) -> None:
            self.ran.append(("one", number))
            if number == self.numbers[2]:
                # In the middle of it the other process does all the rest.
                migrate(self.engine, two, lambda each: self.ran.append(("two", each)))

        migrate(self.engine, one, step_of_one)
        steps = [number for _, number in self.ran]
        self.assertEqual(steps, self.numbers)  # type: ignore[attr-defined]
        self.assertEqual({name for name, _ in self.ran}, {"one", "two"})  # type: ignore[attr-defined]
        self.assertEqual(self.applied(one), self.numbers)  # type: ignore[attr-defined]

    def test_who_finds_the_first_table_made_meanwhile_goes_on(self) -> None:
        migrate(self.engine, self.process(), lambda number: None)
        late = LateDatabase(self.engine, synchronous, synchronous, Names(1000))
        self.addCleanup(late.close)  # type: ignore[attr-defined]
        migrate(Unaware(self.engine), late, lambda number: self.ran.append(("late", number)))  # type: ignore[arg-type]
        self.assertEqual(self.ran, [])  # type: ignore[attr-defined]

    def test_an_older_version_does_not_touch_a_newer_database(self) -> None:
        database = self.process()
        migrate(self.engine, database, lambda number: None)
        database.write_now(lambda tx: tx.run("INSERT INTO schema_changes (number) VALUES (9999)"))
        with self.assertRaises(SchemaTooNew):  # type: ignore[attr-defined]
            migrate(self.engine, database, lambda number: None)


class SqliteMigrationsTests(SqliteStorage, MigrationsTests, SynchronousTestCase): ...


class PostgresMigrationsTests(PostgresStorage, MigrationsTests, SynchronousTestCase): ...
