"""A record: one thing that all sites must agree on, and the version of it that somebody wrote.

A record is (kind, key); its value is JSON, None once it is deleted. Kinds are fine: what two sites may change apart
without disturbing each other (a password, a display name) are records of their own. Where two versions meet, the kind
decides which stays. That decision must be commutative, associative and idempotent: sites hear of versions in any
order, and more than once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from storage.change import Change
from storage.database import Transaction
from synapse_like_config.lazy_dataclasses import dataclass

Key = tuple[str, ...]


class Version(NamedTuple):
    """When and where a value was written. Versions are totally ordered, the same on every site."""

    clock: int
    """Hybrid logical clock, see `hybrid_clock.py`."""
    site: str
    """The site that wrote it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A version of a record, as it travels."""

    kind: str
    key: Key
    value: Any
    """JSON; None: deleted."""
    version: Version
    owner: str | None = None
    """Of kinds about one user: the incarnation of the account (`storage.accounts`) at the site that sends it.

    A name that was registered on two sites apart is one account in the end. What belongs to the other one goes with it.
    """


@dataclass(frozen=True, slots=True)
class Taken:
    """The version that arrived changes what is here: it is newer, larger, or the first."""

    changes: Sequence[Change]
    """Must not raise `Conflict`, whatever is in the tables; written in this order."""


@dataclass(frozen=True, slots=True)
class Combined:
    """What is here now is neither the old value nor the one that arrived: a version of our own, told to all sites."""

    changes: Sequence[Change]
    """As in `Taken`."""


class RecordKind(Protocol):
    """How records of one kind are read, and what is written when a version arrives."""

    @property
    def name(self) -> str: ...

    @property
    def is_of_user(self) -> bool:
        """Whether the first part of a key is the user whose account the record belongs to."""

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        """The values that are here, as JSON; a key without one is left out."""

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        """What an arriving version does; None: what is here stays as it is.

        `present` is the version that is here (None: none that the sites know of).
        """
