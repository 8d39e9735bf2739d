"""Typing: kept in memory only; the log tells that it changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from storage.change import Change
from storage.database import WriteTransaction


@dataclass(frozen=True, slots=True)
class TypingChanged(Change):
    """Who is typing in a room became another."""

    kind: ClassVar[str] = "typing"
    area: ClassVar[str] = "typing"

    room_id: str
    user_ids: tuple[str, ...]
    """Everybody who types now."""

    def key(self) -> tuple[str, ...]:
        return (self.room_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        # Nothing to write: after a restart nobody is typing.
        return
