"""A database engine under a process that is killed at a chosen step of what it writes.

Steps are each statement of a writing transaction, the moment before its commit, and the moment after it, when the data
is on disk and nobody was told. Of a dead process nothing more gets to the database.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from storage.engines.engine import Answer, Connection, Engine, Move, Row, Unavailable


class Fate:
    """When the process dies: shared by all its connections."""

    def __init__(self) -> None:
        self.is_dead = False
        self._steps_left: int | None = None

    def die_after(self, steps: int) -> None:
        self._steps_left = steps

    def spare(self) -> None:
        self._steps_left = None

    def check(self) -> None:
        if self.is_dead:
            raise Unavailable("this process was killed")

    def step(self) -> None:
        self.check()
        if self._steps_left is not None:
            self._steps_left -= 1
            self.is_dead = self._steps_left < 0
        self.check()


class MortalEngine:
    def __init__(self, engine: Engine, fate: Fate) -> None:
        self._engine = engine
        self._fate = fate
        self.readers = engine.readers

    def connect(self) -> "MortalConnection":
        self._fate.check()
        return MortalConnection(self._engine.connect(), self._fate)

    def table_exists(self, connection: Connection, table: str) -> bool:
        return self._engine.table_exists(connection, table)

    def table_names(self, connection: Connection) -> list[str]:
        return self._engine.table_names(connection)

    def column_names(self, connection: Connection, table: str) -> list[str]:
        return self._engine.column_names(connection, table)

    def translate_schema(self, sql: str) -> str:
        return self._engine.translate_schema(sql)


class MortalConnection:
    def __init__(self, connection: Connection, fate: Fate) -> None:
        self._connection = connection
        self._fate = fate
        self._is_writing = False

    def begin_read(self) -> None:
        self._fate.check()
        self._connection.begin_read()

    def begin_write(self) -> None:
        self._fate.check()
        self._connection.begin_write()
        self._is_writing = True

    def execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        self._step()
        return self._connection.execute(sql, parameters)

    def execute_often(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        self._step()
        return self._connection.execute_often(sql, parameters)

    def execute_alone(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        self._step()
        return self._connection.execute_alone(sql, parameters)

    def execute_each(self, select: str, rows: Sequence[Sequence[int]]) -> list[Row]:
        self._step()
        return self._connection.execute_each(select, rows)

    def execute_move(self, move: Move, rows: Sequence[Sequence[Any]], values: Sequence[Any]) -> Answer:
        self._step()
        return self._connection.execute_move(move, rows, values)

    def stream(self, sql: str, page_rows: int) -> Iterator[list[Row]]:
        self._fate.check()
        return self._connection.stream(sql, page_rows)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._step()
        self._connection.execute_many(sql, rows)

    def execute_later(self, sql: str, rows: Sequence[Sequence[Any]], taken: Exception | None = None) -> None:
        self._step()
        self._connection.execute_later(sql, rows, taken)

    def commit(self) -> None:
        self._step()
        self._connection.commit()
        self._is_writing = False
        self._fate.step()

    def rollback(self) -> None:
        # What a dead process had not committed, the database undoes when it sees that it is gone.
        self._is_writing = False
        self._connection.rollback()
        self._fate.check()

    def close(self) -> None:
        self._connection.close()

    def _step(self) -> None:
        if self._is_writing:
            self._fate.step()
        self._fate.check()
