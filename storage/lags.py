"""Which other servers are behind, as the sites tell each other: whoever sends next brings them up to date."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownLag:
    """Everything up to position `since` of the log of that ID was delivered; None: it has everything."""

    destination: str
    epoch: int
    log: str
    since: int | None


@dataclass(frozen=True, slots=True)
class RoomOfOurs:
    """A room in which users of this server sent something, and the position of the first of that."""

    room_id: str
    oldest: int


class LagsRepository:
    def find(self, tx: Transaction, destination: str) -> KnownLag | None:
        row = tx.one(
            "SELECT destination, epoch, log, since FROM federation_lags WHERE destination = ?", (destination,)
        )
        return None if row is None else KnownLag(*row)

    def get_of_others(self, tx: Transaction, own_log: str) -> list[KnownLag]:
        """Those that another site noted, and that are behind."""
        rows = tx.all(
            "SELECT destination, epoch, log, since FROM federation_lags WHERE log <> ? AND since IS NOT NULL",
            (own_log,),
        )
        return [KnownLag(*row) for row in rows]

    def get_rooms_after(self, tx: Transaction, position: int, server_name: str) -> list[RoomOfOurs]:
        """The rooms in which users of a server sent something after a position of this site's log."""
        rows = tx.all(
            "SELECT room, sender, MIN(nid) FROM events WHERE nid > ? AND flags = 0 GROUP BY room, sender",
            (position,),
        )
        names = tx.names_of(nid for row in rows for nid in row[:2])
        oldest: dict[str, int] = {}
        for room, sender, nid in rows:
            if names[sender].endswith(f":{server_name}"):
                oldest[names[room]] = min(int(nid), oldest.get(names[room], int(nid)))
        return [RoomOfOurs(room_id, nid) for room_id, nid in oldest.items()]


@dataclass(frozen=True, slots=True)
class NoteLag(Change):
    """How a destination stands, as the site that sends knows it. The result tells whether that is news."""

    kind: ClassVar[str] = "federation_lag"
    area: ClassVar[str] = "federation_lags"
    logged: ClassVar[bool] = False

    lag: KnownLag

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, (self.lag.destination,)),) if result else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [_note(tx, change.lag) for _, change in changes]


@dataclass(frozen=True, slots=True)
class MergeLag(Change):
    """The same, as another site tells it."""

    kind: ClassVar[str] = NoteLag.kind
    area: ClassVar[str] = "federation_lags"
    logged: ClassVar[bool] = False

    lag: KnownLag

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            _write(tx, change.lag)
            # Who sent before forgets what it had to make up for: another site does now.
            tx.run("DELETE FROM federation_lagging WHERE destination = ?", (change.lag.destination,))
            tx.run("DELETE FROM federation_behind WHERE destination = ?", (change.lag.destination,))


def _note(tx: WriteTransaction, lag: KnownLag) -> bool:
    known = LagsRepository().find(tx, lag.destination)
    if known is not None and known.epoch > lag.epoch:
        # Another site sends by now, and knows better.
        return False
    if lag.since is None:
        is_news = known is not None and known.since is not None
    else:
        is_same = known is not None and (known.epoch, known.log) == (lag.epoch, lag.log)
        is_news = not is_same or known is None or known.since is None or lag.since < known.since
    if not is_news:
        return False
    _write(tx, lag)
    return True


def _write(tx: WriteTransaction, lag: KnownLag) -> None:
    tx.run(
        "INSERT INTO federation_lags (destination, epoch, log, since) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (destination) DO UPDATE SET epoch = excluded.epoch, log = excluded.log,"
        " since = excluded.since",
        (lag.destination, lag.epoch, lag.log, lag.since),
    )
