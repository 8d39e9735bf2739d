"""PostgreSQL through psycopg2. One schema per organisation, chosen by the connection's search path."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras

from storage.engines.engine import (
    WORK_THREADS,
    Connection,
    ConnectionLost,
    Move,
    NotNullViolation,
    Row,
    StorageError,
    Unavailable,
    UniqueViolation,
)
from storage.engines.parameters import number_parameters, take_from_given
from storage.engines.postgres_arrays import is_plain, select_rows, type_name, write_array
from storage.engines.prepared_statements import PreparedCall, PreparedStatements
from synapse_like_config.database import DatabaseConfig

BULK_PAGE_ROWS = 1000
SETTINGS = {
    # Every statement here is short: processes started for its parts, or machine code for it, take longer than it does.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # What is asked for is in memory or on a disk without arms: a few looks into an index cost less than a whole table.
    "random_page_cost": "1.1",
    # Of a transaction that nothing begins: one message that ends with it.
    "default_transaction_isolation": "read committed",
    # What `_BYTES` reads, and what `_literal` writes strings for.
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
}
"""Of each connection."""


_INSERT = re.compile(r"INSERT INTO (\w+)")
_VALUES = re.compile(r"VALUES \((\?(?:, \?)*)\)")


def _read_bytes(value: Any, cursor: Any) -> bytes | None:
    return None if value is None else bytes.fromhex(value[2:])


_BYTES = psycopg2.extensions.new_type((17,), "BYTES", _read_bytes)


def _where_found(sql: str) -> str:
    """With the values that `each` finds, in place of `IN (??)`."""
    # As an array they are found first, and once, however many the planner takes them for.
    return sql.replace("IN (??)", "= ANY (ARRAY(SELECT ({each}) FROM {given}))")


def _table_of(error: UniqueViolation) -> str:
    cause = error.__cause__
    assert isinstance(cause, psycopg2.Error)
    return cause.diag.table_name or ""


class _Awaited:
    """What a statement answers that has not been sent: it goes with the commit, or with what comes before that."""

    def __init__(self, call: PreparedCall, send: "Callable[[_Awaited], None]") -> None:
        """`send` sees to it that it is sent, if its transaction has not ended."""
        self.call = call
        self._send = send
        self._rows: list[Row] | None = None

    @property
    def rows(self) -> list[Row]:
        if self._rows is None:
            self._send(self)
        if self._rows is None:
            raise StorageError("the answer to a statement was lost with its connection")
        return self._rows

    def hear(self, rows: list[Row]) -> None:
        self._rows = rows


class PostgresConnection:
    """A connection in autocommit mode: transactions begin and end only where we say so.

    A connection that broke (the database was restarted) is opened again at the next begin.
    """

    def __init__(self, arguments: Mapping[str, Any], schema: str | None) -> None:
        self._arguments = dict(arguments)
        self._schema = schema
        self._statements: dict[str, str] = {}
        self._given_texts: dict[tuple[str, str], str] = {}
        self._prepared = PreparedStatements()
        self._beginning = ""
        """What begins the transaction, until its first statement takes it along."""
        self._later: list[str] = []
        """Statements that go with the next one."""
        self._taken: dict[str, Exception] = {}
        """What is raised if one of them finds its row in a table there already."""
        self._awaited: _Awaited | None = None
        """What goes behind those."""
        self._open()

    def _open(self) -> None:
        try:
            self._connection = psycopg2.connect(**self._arguments)
        except psycopg2.Error as error:
            raise Unavailable(str(error)) from error
        self._connection.autocommit = True
        psycopg2.extensions.register_type(_BYTES, self._connection)
        self._cursor = self._connection.cursor()
        settings = dict(SETTINGS)
        if self._schema is not None:
            settings["search_path"] = self._schema
        calls = ", ".join("set_config(?, ?, false)" for _ in settings)
        values = [part for item in settings.items() for part in item]
        try:
            self._execute(self._statement(f"SELECT {calls}"), values)
            if self._prepared.preparing:
                self._execute("; ".join(self._prepared.preparing), None)
        except StorageError:
            # Half made ready it would answer from another schema, or not know statements: it is opened again.
            self._connection.close()
            raise

    def _begin(self, sql: str) -> None:
        if self._connection.closed:
            self._open()
        self._forget_waiting()
        self._beginning = f"{sql}; "

    def begin_read(self) -> None:
        self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def begin_write(self) -> None:
        # The log's head row is locked first, so later statements see all that was committed before.
        self._begin("BEGIN ISOLATION LEVEL READ COMMITTED")

    def execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        self._send_awaited()
        if self._later:
            return self._execute_waiting(self._cursor.mogrify(self._statement(sql), parameters).decode())
        if self._beginning:
            return self._execute_first(self._statement(sql), parameters)
        return self._execute(self._statement(sql), parameters)

    def execute_alone(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        if self._connection.closed:
            self._open()
        # Nothing is there that would begin a transaction. Few statements are asked so, and planning takes half of that.
        call = self._call(sql, parameters)
        return self._answered(call, self._execute_reconnecting(call.statement))

    def _execute_first(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
        """Begin the transaction and run its first statement in one message: most that read have one or two."""
        statement, self._beginning = self._beginning + statement, ""
        return self._execute_reconnecting(statement, parameters)

    def _execute_reconnecting(self, statement: str, parameters: Sequence[Any] | None = None) -> list[Row]:
        """For the first message after a pause, if it commits nothing."""
        try:
            return self._execute(statement, parameters)
        except ConnectionLost:
            # It was cut while it was idle, and that shows only now. Nothing was committed, so nothing happens twice.
            self._open()
            return self._execute(statement, parameters)

    def _execute_waiting(self, statement: str) -> list[Row]:
        """Run what waits, and then the statement, in one message."""
        return self._run_waiting(statement, self._execute_first if self._beginning else self._execute)

    def _run_waiting(
        self, statement: str, run: Callable[[str, Sequence[Any] | None], list[Row]]
    ) -> list[Row]:
        text = "; ".join((*self._later, statement) if statement else self._later)
        taken, self._taken = self._taken, {}
        self._later.clear()
        try:
            return run(text, None)
        except UniqueViolation as error:
            # Which of the statements it was, the error says by their tables.
            foreseen = taken.get(_table_of(error))
            if foreseen is not None:
                raise foreseen from error
            raise

    def _forget_waiting(self) -> None:
        self._later.clear()
        self._taken.clear()
        self._awaited = None

    def _send_awaited(self) -> None:
        """Before anything that may see what it does."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.hear(self._answered(awaited.call, self._execute_text(awaited.call.statement)))

    def _send_if_awaited(self, awaited: _Awaited) -> None:
        # Otherwise its transaction is over, and this may not be its thread.
        if self._awaited is awaited:
            self._send_awaited()

    def _answered(self, call: PreparedCall, rows: list[Row]) -> list[Row]:
        self._prepared.answered(call)
        return rows

    def _execute(self, statement: str, parameters: Sequence[Any] | None) -> list[Row]:
        try:
            self._cursor.execute(statement, parameters)
            return [] if self._cursor.description is None else self._cursor.fetchall()
        except psycopg2.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: psycopg2.Error) -> StorageError:
        if self._connection.closed:
            return ConnectionLost(str(error))
        if isinstance(error, psycopg2.errors.UniqueViolation):
            return UniqueViolation(str(error))
        if isinstance(error, psycopg2.errors.NotNullViolation):
            return NotNullViolation(str(error))
        return StorageError(str(error))

    def execute_often(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        return self._execute_call(self._call(sql, parameters))

    def execute_each(self, select: str, rows: Sequence[Sequence[int]]) -> list[Row]:
        # One statement, planned once, that goes through the parameters: UNION ALL would be planned part by part, and
        # looks so expensive that processes are started for it.
        return self._execute_call(
            self._call_given("SELECT found.* FROM {given}, LATERAL ({each}) AS found", select, rows)
        )

    def execute_move(self, move: Move, rows: Sequence[Sequence[Any]], values: Sequence[Any]) -> _Awaited:
        self._send_awaited()
        take = _where_found(move.take)
        sql = f"WITH taken AS ({take}), kept AS ({move.keep}) SELECT * FROM taken"  # noqa: S608
        self._awaited = _Awaited(self._call_given(sql, move.find, rows, values), self._send_if_awaited)
        return self._awaited

    def _call(self, sql: str, parameters: Sequence[Any]) -> PreparedCall:
        return self._prepared.call(number_parameters(sql), "", ", ".join(map(self._literal, parameters)))

    def _call_given(
        self, sql: str, select: str, rows: Sequence[Sequence[Any]], values: Sequence[Any] = ()
    ) -> PreparedCall:
        """`sql` with `each`, the SELECT that takes its values from `given`, before any places for `values`."""
        arrays, types = zip(*map(write_array, zip(*rows, strict=True)), strict=True)
        text = self._given_texts.get((sql, select))
        if text is None:
            each, columns = take_from_given(select)
            given = f"unnest({', '.join('?' * len(columns))}) AS given ({', '.join(columns)})"
            text = number_parameters(sql.replace("{each}", each).replace("{given}", given))
            self._given_texts[sql, select] = text
        all_types = (*types, *map(type_name, values))
        all_values = (*arrays, *map(self._literal, values))
        return self._prepared.call(text, f"({', '.join(all_types)})", ", ".join(all_values))

    def _execute_call(self, call: PreparedCall) -> list[Row]:
        self._send_awaited()
        return self._answered(call, self._execute_text(call.statement))

    def _execute_text(self, statement: str) -> list[Row]:
        """A statement that has its values in it."""
        if self._later:
            return self._execute_waiting(statement)
        if self._beginning:
            return self._execute_first(statement, None)
        return self._execute(statement, None)

    def stream(self, sql: str, page_rows: int) -> Iterator[list[Row]]:
        # Spelled out: psycopg2's own named cursors want to begin transactions themselves.
        self.execute(f"DECLARE long_answer NO SCROLL CURSOR FOR {sql}", ())
        while rows := self.execute(f"FETCH {page_rows} FROM long_answer", ()):
            yield rows
        self.execute("CLOSE long_answer", ())

    def execute_later(self, sql: str, rows: Sequence[Sequence[Any]], taken: Exception | None = None) -> None:
        self._send_awaited()
        match = _VALUES.search(sql)
        if match is None:
            pieces = sql.split("?")
            self._later += ["".join(self._filled(pieces, row)) for row in rows]
        else:
            beginning, end = sql[: match.start()], sql[match.end() :]
            for start in range(0, len(rows), BULK_PAGE_ROWS):
                page = rows[start : start + BULK_PAGE_ROWS]
                given = select_rows(page, self._literal)
                if given is None:
                    values = [f"({','.join(map(self._literal, row))})" for row in page]
                    given = f"VALUES {','.join(values)}"
                self._later.append(f"{beginning}{given}{end}")
        if taken is not None:
            insert = _INSERT.match(sql)
            assert insert is not None
            self._taken[insert[1]] = taken

    def _filled(self, pieces: Sequence[str], row: Sequence[Any]) -> Iterator[str]:
        for piece, value in zip(pieces, row, strict=False):
            yield piece
            yield self._literal(value)
        yield pieces[-1]

    def _literal(self, value: Any) -> str:
        """A value as SQL. psycopg2's own way takes several times as long, which shows with a hundred rows."""
        kind = type(value)
        if kind is int:
            return str(value)
        if kind is bytes:
            if is_plain(value):
                return f"""'{value.decode().replace("'", "''")}'::bytea"""
            return f"'\\x{value.hex()}'::bytea"
        if value is None:
            return "NULL"
        if kind is str and "\\" not in value and "\0" not in value:
            return f"""'{value.replace("'", "''")}'"""
        literal: str = self._cursor.mogrify("%s", (value,)).decode()
        return literal

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._send_awaited()
        match = _VALUES.search(sql)
        if self._later:
            # By itself: the caller may want to know which of the two went wrong.
            self._execute_waiting("")
        if self._beginning:
            self._execute_first("", ())
        try:
            if match is None:
                psycopg2.extras.execute_batch(self._cursor, self._statement(sql), list(rows))
                return
            bulk = sql[: match.start()].replace("%", "%%") + "VALUES %s"
            bulk += self._statement(sql[match.end() :])
            psycopg2.extras.execute_values(self._cursor, bulk, rows, page_size=BULK_PAGE_ROWS)
        except psycopg2.Error as error:
            raise self._translate(error) from error

    def _statement(self, sql: str) -> str:
        statement = self._statements.get(sql)
        if statement is None:
            statement = sql.replace("%", "%%").replace("?", "%s")
            if len(self._statements) < 4096:
                self._statements[sql] = statement
        return statement

    def commit(self) -> None:
        if self._beginning and (self._later or self._awaited is not None):
            self._commit_whole()
        else:
            self._send_awaited()
            self._finish("COMMIT")

    def _commit_whole(self) -> None:
        """Nothing has been sent yet: what one message holds is a transaction, which its end commits."""
        awaited, self._awaited = self._awaited, None
        # It is not sent again if the connection breaks: it may have been committed.
        rows = self._run_waiting("" if awaited is None else awaited.call.statement, self._execute)
        # If it failed, there is nothing to be rolled back.
        self._beginning = ""
        if awaited is not None:
            awaited.hear(self._answered(awaited.call, rows))

    def rollback(self) -> None:
        self._forget_waiting()
        if not self._connection.closed:
            self._finish("ROLLBACK")

    def _finish(self, sql: str) -> None:
        if self._later:
            self._execute_waiting(sql)
        elif self._beginning:
            # Nothing was asked, so nothing was begun.
            self._beginning = ""
        else:
            self._execute(sql, ())

    def close(self) -> None:
        self._connection.close()


class PostgresEngine:
    """`arguments` go to psycopg2.connect as they are; `schema` must exist, None is the server's default."""

    def __init__(self, arguments: Mapping[str, Any], readers: int, schema: str | None = None) -> None:
        self._arguments = arguments
        self._schema = schema
        self.readers = readers

    def connect(self) -> PostgresConnection:
        return PostgresConnection(self._arguments, self._schema)

    def table_exists(self, connection: Connection, table: str) -> bool:
        return connection.execute("SELECT to_regclass(?)", (table,))[0][0] is not None

    def table_names(self, connection: Connection) -> list[str]:
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
            " AND table_type = 'BASE TABLE' ORDER BY table_name",
            (),
        )
        return [row[0] for row in rows]

    def column_names(self, connection: Connection, table: str) -> list[str]:
        rows = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND table_name = ? ORDER BY ordinal_position",
            (table,),
        )
        return [row[0] for row in rows]

    def translate_schema(self, sql: str) -> str:
        return sql


def open_engine(database: DatabaseConfig) -> PostgresEngine:
    # One of the connections writes, others are those of threads for other work.
    readers = database.cp_max - 1 - WORK_THREADS
    return PostgresEngine(database.connection_arguments, readers)
