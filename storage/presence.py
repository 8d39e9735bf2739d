"""Presence: who is online, as it was told last."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

_NUMBERS: Final[Mapping[str, int]] = {"online": 1, "unavailable": 2, "offline": 3}
_STATES: Final = {number: state for state, number in _NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class SetPresence(Change):
    """A user's presence became another."""

    kind: ClassVar[str] = "presence"
    area: ClassVar[str] = "presence"

    user_id: str
    state: str
    """`online`, `unavailable` or `offline`."""
    status_msg: str | None
    last_active_ms: int
    currently_active: bool

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        newest = {users[change.user_id]: (position, change) for position, change in changes}
        tx.many(
            "INSERT INTO presence (user_nid, state, status_msg, last_active_ms, currently_active, position)"
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (user_nid) DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg,"
            " last_active_ms = excluded.last_active_ms, currently_active = excluded.currently_active,"
            " position = excluded.position",
            [
                (
                    user,
                    _NUMBERS[change.state],
                    None if change.status_msg is None else change.status_msg.encode(),
                    change.last_active_ms,
                    int(change.currently_active),
                    position,
                )
                for user, (position, change) in newest.items()
            ],
        )


@dataclass(frozen=True, slots=True)
class MergePresence(SetPresence):
    """A presence that another site told last: that site sees the user's devices now."""


@dataclass(frozen=True, slots=True)
class PresenceRow:
    """A user's presence and where in the log it became so."""

    user_id: str
    state: str
    status_msg: str | None
    last_active_ms: int
    currently_active: bool
    position: int


_COLUMNS = "user_nid, state, status_msg, last_active_ms, currently_active, position FROM presence"


class PresenceRepository:
    def find(self, tx: Transaction, user_id: str) -> PresenceRow | None:
        rows = tx.all(f"SELECT {_COLUMNS} WHERE user_nid = ?", (tx.name_id(user_id),))
        return _rows(tx, rows)[0] if rows else None

    def get_changed(self, tx: Transaction, after: int, upto: int) -> list[PresenceRow]:
        """What became so at positions `after` < p <= `upto`, in that order; of all users."""
        rows = tx.all(
            f"SELECT {_COLUMNS} WHERE position > ? AND position <= ? ORDER BY position", (after, upto)
        )
        return _rows(tx, rows)

    def get_after(self, tx: Transaction, after: int, limit: int) -> list[PresenceRow]:
        """What became so after a position: the newest of it, newest first; of all users."""
        return _rows(
            tx,
            tx.all(f"SELECT {_COLUMNS} WHERE position > ? ORDER BY position DESC LIMIT ?", (after, limit)),
        )

    def get_told_elsewhere(self, tx: Transaction) -> set[str]:
        """Those who are not offline by what another site told last."""
        site: str | None = tx.value("SELECT site FROM own_site")
        if site is None:
            return set()
        keys = [(row.user_id,) for row in self.get_not_offline(tx)]
        versions = RecordIndex().get_versions(tx, SetPresence.kind, keys)
        return {key[0] for key, version in versions.items() if version.site != site}

    def get_not_offline(self, tx: Transaction) -> list[PresenceRow]:
        """Everybody who was online or unavailable when it was last told."""
        return _rows(tx, tx.all(f"SELECT {_COLUMNS} WHERE state <> 3"))


def _rows(tx: Transaction, rows: Sequence[Row]) -> list[PresenceRow]:
    names = tx.names_of(row[0] for row in rows)
    return [
        PresenceRow(
            names[user],
            _STATES[state],
            None if status_msg is None else str(bytes(status_msg), "utf-8"),
            last_active_ms,
            bool(currently_active),
            position,
        )
        for user, state, status_msg, last_active_ms, currently_active, position in rows
    ]
