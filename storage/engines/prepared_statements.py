"""Statements of PostgreSQL that are read and planned once for each connection."""

from typing import Final

from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A statement with its values."""

    statement: str
    """What is sent: the call, and before the first one what prepares it."""
    text: str
    name: str
    preparing: str
    """What prepares it; empty if it is."""


class PreparedStatements:
    """The names that a connection knows them by. There are a few dozen: their texts stand in the code."""

    def __init__(self) -> None:
        self._names: Final[dict[str, str]] = {}
        self._names_used = 0
        self.preparing: Final[list[str]] = []
        """What prepares them all, on another connection."""

    def call(self, text: str, types: str, values: str) -> PreparedCall:
        """`text` has `$1`, `$2`, ...; `types`: of these, in parentheses, if it does not show them."""
        if values:
            values = f"({values})"
        name = self._names.get(text)
        if name is not None:
            return PreparedCall(f"EXECUTE {name}{values}", text, name, "")
        # No name is used twice: what fails may have been prepared all the same.
        self._names_used += 1
        name = f"statement_{self._names_used}"
        preparing = f"PREPARE {name}{types} AS {text}"
        return PreparedCall(f"{preparing}; EXECUTE {name}{values}", text, name, preparing)

    def answered(self, call: PreparedCall) -> None:
        """The connection knows it from now on."""
        if call.preparing:
            self._names[call.text] = call.name
            self.preparing.append(call.preparing)
