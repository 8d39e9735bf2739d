"""What `storage/database.py` asks of a database engine."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from synapse_like_config.lazy_dataclasses import dataclass

Row = tuple[Any, ...]

WORK_THREADS = 2
"""Threads for other work than the database's, each of which may have a connection too."""


class StorageError(Exception):
    """The database refused or failed; the transaction was rolled back."""


class Unavailable(StorageError):
    """The database cannot be reached, or somebody else keeps it locked: no statement is at fault."""


class ConnectionLost(Unavailable):
    """The connection broke. Nobody knows whether the statements under way were run, a COMMIT among them or not."""


class UniqueViolation(StorageError):
    """A row with the same key exists."""


class NotNullViolation(StorageError):
    """A column that must have a value was to have none."""


class Answer(Protocol):
    """What a statement answers that is on its way by the end of its transaction."""

    @property
    def rows(self) -> Sequence[Row]:
        """Within the transaction this waits for the statement; after the commit they are there.

        Raises `StorageError` if the statement fails, or if nobody heard the answer.
        """


@dataclass(frozen=True, slots=True)
class Known:
    """An answer that came at once."""

    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Move:
    """Takes rows out of one table and notes them in another."""

    find: str
    """A SELECT of one value at most, which has a place for each value of a set."""
    take: str
    """A DELETE, with `IN (??)` for the values found, that ends with `RETURNING` and names of columns."""
    keep: str
    """An INSERT with a SELECT from `taken`, which has these columns, and with places for values.

    It may call `sha256`. Bytes that follow each other are `CAST(one || other AS BYTEA)`: `||` alone may make a text.
    """


class Connection(Protocol):
    """One connection, used by one thread at a time. Statements use `?` for parameters."""

    def begin_read(self) -> None:
        """Start a transaction that sees one snapshot."""

    def begin_write(self) -> None:
        """Start the writing transaction."""

    def execute(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """The rows of the answer; an empty list for statements that return none."""

    def execute_alone(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """As `execute`, for a reading statement outside of any transaction: it is one by itself.

        The types of its parameters must show from what they are compared with.
        """

    def execute_often(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """As `execute`, for one of the few statements that are worth being planned once for all requests.

        The types of its parameters must show from what they are compared with.
        """

    def execute_each(self, select: str, rows: Sequence[Sequence[int]]) -> list[Row]:
        """The rows of a SELECT with each of several sets of parameters, which are integers: one answer, in no order."""

    def execute_move(self, move: Move, rows: Sequence[Sequence[Any]], values: Sequence[Any]) -> Answer:
        """Move what is found with each of several sets; `values` are those of `keep`. The rows taken are the answer.

        No parameter is NULL. The statement may go with the next one or with the commit.
        """

    def stream(self, sql: str, page_rows: int) -> Iterator[list[Row]]:
        """The rows of a long answer, a page at a time, within the transaction that was begun."""

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """The statement once per row, in as few round trips as the engine allows."""

    def execute_later(self, sql: str, rows: Sequence[Sequence[Any]], taken: Exception | None = None) -> None:
        """As `execute_many`, now or with the next statement or the commit, whichever comes first.

        `taken` is raised, then, in place of `UniqueViolation` in the table that `sql` begins to insert into: one for
        each table.
        """

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """Makes connections to one organisation's data."""

    readers: int
    """How many threads may read at the same time."""

    def connect(self) -> Connection: ...

    def table_exists(self, connection: Connection, table: str) -> bool: ...

    def table_names(self, connection: Connection) -> list[str]:
        """Every table of the organisation, in order."""

    def column_names(self, connection: Connection, table: str) -> list[str]: ...

    def translate_schema(self, sql: str) -> str:
        """A migration's text with the engine's own words for what has no common one."""
