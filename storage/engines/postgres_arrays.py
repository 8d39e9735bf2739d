"""Many rows in one INSERT for PostgreSQL: a column is one array, which is read many times quicker than its values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_SEPARATOR: Final = "\x01"
"""Hardly any value has it in itself."""
FEWEST_ROWS: Final = 10
"""With fewer, taking arrays apart costs more than it saves."""


def select_rows(rows: Sequence[Sequence[Any]], literal: Callable[[Any], str]) -> str | None:
    """What stands after `INSERT INTO table (columns) ` in place of VALUES; None: write them as VALUES."""
    if len(rows) < FEWEST_ROWS:
        return None
    arrays: list[str] = []
    columns: list[str] = []
    for column in zip(*rows, strict=True):
        if column.count(column[0]) == len(column):
            columns.append(literal(column[0]))
            continue
        array = _write_array(column)
        if array is None:
            return None
        columns.append(f"given.p{len(arrays)}")
        arrays.append(array)
    if not arrays:
        return None
    names = ", ".join(f"p{number}" for number in range(len(arrays)))
    return f"SELECT {', '.join(columns)} FROM unnest({', '.join(arrays)}) AS given ({names})"  # noqa: S608


def write_array(values: Sequence[Any]) -> tuple[str, str]:
    """An array of integers, of bytes or of texts without U+0000, and the name of its type."""
    array = _write_array(values)
    assert array is not None
    return array, f"{type_name(values[0])}[]"


def type_name(value: Any) -> str:
    """Of an integer, bytes or a text."""
    return _KINDS[type(value)][0]


def _write_array(column: Sequence[Any]) -> str | None:
    """None if the values are not all integers, all bytes or all texts, or NULL."""
    kinds = set(map(type, column))
    is_nullable = type(None) in kinds
    kinds.discard(type(None))
    (kind, *others) = kinds
    known = _KINDS.get(kind)
    if others or known is None:
        return None
    name, element = known
    if not is_nullable and kind is not int:
        elements = _join_plain(column)
        if elements is not None:
            return f"""'{{"{elements}"}}'::{name}[]"""
    if is_nullable:
        written = ["NULL" if value is None else element(value) for value in column]
    else:
        written = list(map(element, column))
    if any("\0" in each for each in written):
        return None
    return f"'{{{','.join(written)}}}'::{name}[]"


def _join_plain(column: Sequence[Any]) -> str | None:
    """What stands between the outer quotes of values that are their own text; None if one of them is not.

    All of them are looked at together: one by one takes many times as long.
    """
    if type(column[0]) is bytes:
        joined = _SEPARATOR.encode().join(column)
        if not is_plain(joined):
            return None
        text = joined.decode()
    else:
        text = _SEPARATOR.join(column)
        if "\\" in text or "\0" in text:
            return None
    if text.count(_SEPARATOR) != len(column) - 1:
        return None
    return text.replace('"', '\\"').replace("'", "''").replace(_SEPARATOR, '","')


def _text(value: str) -> str:
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f'"{value}"'


def _bytes(value: bytes) -> str:
    if is_plain(value):
        return _text(value.decode())
    return f'"\\\\x{value.hex()}"'


def is_plain(value: bytes) -> bool:
    """Whether the bytes are their own text: half as long as in hexadecimal, and mostly JSON."""
    return value.isascii() and b"\\" not in value and b"\0" not in value


_KINDS: Final[Mapping[type, tuple[str, Callable[[Any], str]]]] = {
    int: ("bigint", str),
    bytes: ("bytea", _bytes),
    str: ("text", _text),
}
