"""A change: one thing that becomes true, as a value that the committer can write.

Repositories' modules define the changes of their area. A change is a frozen dataclass:

    @dataclass(frozen=True, slots=True)
    class SetTag(Change):
        kind: ClassVar[str] = "tag"
        area: ClassVar[str] = "tags"
        user_id: str
        ...

        def key(self) -> tuple[str, ...]:
            return (self.user_id, self.room_id)

        @classmethod
        def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object] | None:
            tx.many("INSERT INTO ...", [(change.user_id, position) for position, change in changes])
            return None
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.database import WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


class Conflict(Exception):
    """A change cannot be written over what the database holds now; its submission wrote nothing."""


class Change:
    """Base of all changes."""

    __slots__ = ()

    kind: ClassVar[str]
    """What followers select by: `event`, `receipt`, `account_data`, ..."""

    area: ClassVar[str]
    """Changes of one area are written in the order of submission; areas may be reordered within a commit."""

    is_barrier: ClassVar[bool] = False
    """Whether nothing of any area is reordered across it: it takes away what changes of other areas look for."""

    logged: ClassVar[bool] = True
    """False for bookkeeping that no follower ever needs: it takes no position."""

    is_remembered: ClassVar[bool] = True
    """Whether the log keeps the value in memory. False for what may be large and no follower looks back at."""

    def key(self) -> tuple[str, ...]:
        """What changed, enough for a follower that has only the log to read the new value."""
        raise TypeError(f"{type(self).__name__} is logged and gives no key")

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        """The replicated records (kind, key) that it touched; `result` is what `write` gave back for it.

        None by default: what is derived or means something on this site only (docs/replication.md).
        """
        return ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object] | None:
        """Write several changes of this type; each comes with its position (0 if not logged).

        May return one result per change, which the submitter gets. Raises `Conflict` if one cannot be written:
        each submission is then written again by itself, and only the one that cannot be fails.
        """
        raise TypeError(f"{cls.__name__} does not say how it is written")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A committed change in the log."""

    position: int
    kind: str
    key: tuple[str, ...]
    change: Change | None
    """The value itself, if it was committed by this process, and remembered; otherwise read it from its repository."""
