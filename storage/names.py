"""Names as numbers: rooms, users, event types and state keys repeat in every table, so each is stored once.

Names are kept as UTF-8 bytes: a state key may hold any character, and PostgreSQL's text cannot hold U+0000.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]

CHUNK = 900


class _Reader(Protocol):
    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...

    def when_committed(self, callback: Callable[[], None]) -> None: ...


class _Writer(_Reader, Protocol):
    def later(self, sql: str, rows: Sequence[Sequence[Any]]) -> None: ...


class Names:
    """The two-way map, with a bounded cache of what is committed.

    Threads share it: each step on the dictionaries is atomic, and a lost entry is only read again.
    """

    def __init__(self, cache_size: int) -> None:
        self._cache_size = cache_size
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def find_ids(self, tx: _Reader, names: Iterable[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        missing: list[str] = []
        for name in names:
            number = self._ids.get(name)
            if number is None:
                missing.append(name)
            else:
                found[name] = number
        if missing:
            read = self._read_ids(tx, missing)
            tx.when_committed(lambda: self._remember(read))
            found.update(read)
        return found

    def get_names(self, tx: _Reader, ids: Iterable[int]) -> dict[int, str]:
        found: dict[int, str] = {}
        missing: list[int] = []
        for number in set(ids):
            name = self._names.get(number)
            if name is None:
                missing.append(number)
            else:
                found[number] = name
        if missing:
            read: dict[str, int] = {}
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                rows = tx.all("SELECT nid, name FROM names WHERE nid IN (??)", (chunk,))
                read.update((str(bytes(name), "utf-8"), number) for number, name in rows)
            tx.when_committed(lambda: self._remember(read))
            found.update((number, name) for name, number in read.items())
        return found

    def intern(self, tx: _Writer, names: Iterable[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        missing: list[str] = []
        for name in set(names):
            number = self._ids.get(name)
            if number is None:
                missing.append(name)
            else:
                found[name] = number
        if not missing:
            return found
        read = self._read_ids(tx, missing)
        new = [name for name in missing if name not in read]
        if new:
            last = tx.all("UPDATE log_head SET names = names + ? RETURNING names", (len(new),))[0][0]
            numbered = {name: last - len(new) + 1 + index for index, name in enumerate(new)}
            tx.later(
                "INSERT INTO names (nid, name) VALUES (?, ?)",
                [(number, name.encode()) for name, number in numbered.items()],
            )
            read.update(numbered)
        tx.when_committed(lambda: self._remember(read))
        found.update(read)
        return found

    def _read_ids(self, tx: _Reader, names: Sequence[str]) -> dict[str, int]:
        read: dict[str, int] = {}
        for start in range(0, len(names), CHUNK):
            chunk = [name.encode() for name in names[start : start + CHUNK]]
            for number, name in tx.all("SELECT nid, name FROM names WHERE name IN (??)", (chunk,)):
                read[str(bytes(name), "utf-8")] = number
        return read

    def _remember(self, read: dict[str, int]) -> None:
        if len(self._ids) + len(read) > self._cache_size:
            self._ids = {}
            self._names = {}
        self._ids.update(read)
        self._names.update((number, name) for name, number in read.items())
