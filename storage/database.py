"""Transactions over an engine, run on threads so that the reactor never waits for a disk.

The one place in `storage` that knows Twisted: everything else sees plain functions of a `Transaction`.
"""

import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from storage.engines.engine import Answer, Connection, Engine, Move, Row, StorageError
from storage.names import Names

T = TypeVar("T")

IN_LIST_LIMIT = 900
"""How many values a caller may put into one `??` list."""


class ThreadRunner(Protocol):
    """Runs a function elsewhere: a thread pool in a server, the same thread in a test."""

    def __call__(self, function: Callable[[], T]) -> "Deferred[T]": ...


class Waiter(Generic[T]):
    """A result that one coroutine awaits and another piece of code gives."""

    def __init__(self) -> None:
        self._deferred: Deferred[T] = Deferred()

    def __await__(self) -> Generator[Any, Any, T]:
        return (yield from self._deferred.__await__())

    def succeed(self, result: T) -> None:
        self._deferred.callback(result)

    def fail(self, error: Exception) -> None:
        self._deferred.errback(Failure(error))


def start(work: Coroutine[Any, Any, None], on_error: Callable[[Failure], None]) -> None:
    """Run a coroutine by itself; `on_error` gets what it raised."""
    Deferred.fromCoroutine(work).addErrback(on_error)


class Transaction:
    """What a repository reads with. `?` stands for one parameter, `??` for a list of at most `IN_LIST_LIMIT`."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self.names = names

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Every row of the answer."""
        if "??" in sql:
            sql, parameters = _expand_lists(sql, parameters)
        return self._execute(sql, parameters)

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        return self._connection.execute(sql, parameters)

    def each(self, select: str, rows: Sequence[Sequence[int]]) -> list[Row]:
        """The rows of one SELECT for each of several sets of integers, of all of them together, in no order."""
        return self._connection.execute_each(select, rows) if rows else []

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        rows = self.all(sql, parameters)
        return rows[0] if rows else None

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        rows = self.all(sql, parameters)
        return rows[0][0] if rows else None

    def when_committed(self, callback: Callable[[], None]) -> None:
        """Call back once all that was read is on disk: here, at once."""
        callback()

    def name_ids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of those names that have one."""
        return self.names.find_ids(self, names)

    def name_id(self, name: str) -> int | None:
        """The number of a name, or None if nothing stored ever used it."""
        return self.names.find_ids(self, (name,)).get(name)

    def names_of(self, ids: Iterable[int]) -> dict[int, str]:
        """The names of numbers that came from the database."""
        return self.names.get_names(self, ids)


class Question(Transaction):
    """What reads with a single statement. That is a transaction by itself: nothing has to begin or end one."""

    def __init__(self, connection: Connection, names: Names) -> None:
        super().__init__(connection, names)
        self._is_asked = False

    def _execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """Raises `StorageError` the second time: two statements may see different data."""
        if self._is_asked:
            raise StorageError("more than one statement needs a transaction around them")
        self._is_asked = True
        return self._connection.execute_alone(sql, parameters)

    def each(self, select: str, rows: Sequence[Sequence[int]]) -> list[Row]:
        """Raises `StorageError`: on some engines these are several statements."""
        raise StorageError("statements for several sets of integers need a transaction around them")


class WriteTransaction(Transaction):
    """What a change writes with: only the committer makes one (and migrations)."""

    def __init__(self, connection: Connection, names: Names) -> None:
        super().__init__(connection, names)
        self.after_commit: list[Callable[[], None]] = []
        """Called on the writing thread once the transaction is on disk; dropped if it rolls back."""

    def when_committed(self, callback: Callable[[], None]) -> None:
        """What was read may have been written by this very transaction, which may yet roll back."""
        self.after_commit.append(callback)

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """A statement whose answer does not matter."""
        self.all(sql, parameters)

    def often(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """As `all`, without `??`, for a long statement of many requests, which need not be planned for each of them.

        The types of its parameters must show from what they are compared with.
        """
        return self._connection.execute_often(sql, parameters)

    def move(self, move: Move, rows: Sequence[Sequence[Any]], values: Sequence[Any]) -> Answer:
        """Move what `move` finds with each of several sets of integers, bytes and texts, of which there are some.

        Where nothing else follows in the transaction, its rows come with the commit.
        """
        return self._connection.execute_move(move, rows, values)

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """The statement once per row; an INSERT must say `VALUES (?, ?)` with a mark for each column."""
        if rows:
            self._connection.execute_many(sql, rows)

    def later(self, sql: str, rows: Sequence[Sequence[Any]], taken: Exception | None = None) -> None:
        """As `many`, for what nothing else in the change depends on: the next statement, or the commit, takes it along.

        What is wrong with it is raised then; a row that there is already as `taken`, if that is given.
        """
        if rows:
            self._connection.execute_later(sql, rows, taken)

    def intern(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of all these names; new ones get one."""
        return self.names.intern(self, names)

    def intern_one(self, name: str) -> int:
        return self.names.intern(self, (name,))[name]


def _expand_lists(sql: str, parameters: Sequence[Any]) -> tuple[str, list[Any]]:
    pieces = sql.split("??")
    flat: list[Any] = []
    text = []
    remaining = iter(parameters)
    for number, piece in enumerate(pieces):
        text.append(piece)
        for _ in range(piece.count("?")):
            flat.append(next(remaining))
        if number < len(pieces) - 1:
            values = list(next(remaining))
            # An empty list matches nothing: NULL is in no list and equal to nothing.
            text.append(", ".join("?" * len(values)) if values else "NULL")
            flat.extend(values)
    return "".join(text), flat


class Database:
    """One organisation's data on this site.

    Each thread keeps a connection of its own. `read` may run beside anything; `write` is for the committer alone.
    """

    def __init__(
        self, engine: Engine, read_runner: ThreadRunner, write_runner: ThreadRunner, names: Names
    ) -> None:
        self._engine = engine
        self._run_read = read_runner
        self._run_write = write_runner
        self._names = names
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._lock = threading.Lock()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that sees one snapshot of the data."""
        return await self._run_read(lambda: self._read(work))

    async def ask(self, work: Callable[[Transaction], T]) -> T:
        """`read` for work of one statement: half the ways to the database. Raises `StorageError` at a second one."""
        return await self._run_read(lambda: self.ask_here(work))

    def ask_here(self, work: Callable[[Transaction], T]) -> T:
        """`ask` on the calling thread, which keeps a connection then: for one that goes on with the answer at once.

        It must be one of the few (`WORK_THREADS`) that the number of connections is reckoned with.
        """
        return work(Question(self._thread_connection(), self._names))

    async def write(self, work: Callable[[WriteTransaction], T]) -> T:
        """Run `work` in the writing transaction; on disk when this returns, undone if it raises."""
        return await self._run_write(lambda: self.write_now(work))

    def _read(self, work: Callable[[Transaction], T]) -> T:
        connection = self._thread_connection()
        connection.begin_read()
        try:
            return work(Transaction(connection, self._names))
        finally:
            # Nothing was written: rolling back is the cheap way to end a reading transaction.
            self._end(connection)

    def write_now(self, work: Callable[[WriteTransaction], T]) -> T:
        """`write` on the calling thread: for start-up, before there is anybody to wait for."""
        connection = self._thread_connection()
        connection.begin_write()
        transaction = WriteTransaction(connection, self._names)
        try:
            result = work(transaction)
            connection.commit()
        except BaseException:
            self._end(connection)
            raise
        for callback in transaction.after_commit:
            callback()
        return result

    def read_now(self, work: Callable[[Transaction], T]) -> T:
        """`read` on the calling thread: for start-up."""
        return self._read(work)

    def _end(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except StorageError:
            # The connection is of no use any more; the thread gets a new one next time.
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            self._connections.remove(connection)
        del self._local.connection
        connection.close()

    def _thread_connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._engine.connect()
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection

    def leave(self) -> None:
        """Close the calling thread's connection: for the end of start-up. Another one is made if it reads again."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._drop(connection)

    def close(self) -> None:
        """Close every connection; nothing may be running."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
