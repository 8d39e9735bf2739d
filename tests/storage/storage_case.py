"""The base of storage tests: a mixin with the tests, and a class per engine.

class LogTests(StorageMixin): ...
class SqliteLogTests(SqliteStorage, LogTests, SynchronousTestCase): ...
class PostgresLogTests(PostgresStorage, LogTests, SynchronousTestCase): ...
"""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute

from storage.committer import Committer
from storage.database import Database, Transaction, WriteTransaction
from storage.engines.engine import Engine
from storage.engines.postgres import PostgresEngine
from storage.engines.sqlite import SqliteEngine
from storage.log import Log, LogRepository
from storage.migrate import migrate
from storage.names import Names
from tests.support.postgres import postgres_database

T = TypeVar("T")


class SilentObserver:
    """Nobody looks at the numbers."""

    def committed(self, changes: int, duration_s: float) -> None:
        return

    def failed(self) -> None:
        return


def synchronous(function: Callable[[], T]) -> "Deferred[T]":
    """A thread runner without threads."""
    return execute(function)


class StorageMixin:
    """An open, empty database with its committer and log."""

    engine: Engine

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.engine = self.make_engine()
        self.open()

    def open(self) -> None:
        """Open (again, as after a restart) what is on disk."""
        self.database = Database(self.engine, synchronous, synchronous, Names(1000))
        migrate(self.engine, self.database, lambda number: None)
        self.log = Log(1000)
        self.log.start_at(self.database.read_now(LogRepository().get_position))
        self.committer = Committer(self.database, self.log, SilentObserver(), lambda: 1_000_000, lambda: 0.0)
        self.addCleanup(self.database.close)  # type: ignore[attr-defined]

    def migrate_from(self, go_back: Callable[[WriteTransaction], None]) -> None:
        """Open a database of an older version again: `go_back` makes the tables as they were."""
        self.database.write_now(go_back)
        self.database.close()
        self.open()

    def make_engine(self) -> Engine:
        raise TypeError("mix in SqliteStorage or PostgresStorage")

    def result(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns, which must be at once."""
        return self.successResultOf(Deferred.fromCoroutine(work))  # type: ignore[attr-defined, no-any-return]

    def failure(self, work: Coroutine[Any, Any, Any], *types: type[Exception]) -> Exception:
        """What a coroutine raises."""
        return self.failureResultOf(Deferred.fromCoroutine(work), *types).value  # type: ignore[attr-defined, no-any-return]

    def read(self, function: Callable[[Transaction], T]) -> T:
        return self.database.read_now(function)


class SqliteStorage:
    def make_engine(self) -> Engine:
        return SqliteEngine(Path(self.mktemp()), readers=1, synchronous="OFF")  # type: ignore[attr-defined]


class PostgresStorage:
    def make_engine(self) -> Engine:
        return PostgresEngine(postgres_database(self).as_connect_arguments(), readers=1)  # type: ignore[arg-type]
