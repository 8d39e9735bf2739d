"""Links between sites: how far each has taken in the others' logs, and what is read of this site's log for them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self

import orjson

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.events import OUTLIER, REJECTED, SOFT_FAILED, StoreEvent
from synapse_like_config.lazy_dataclasses import dataclass

KEPT_MARKS: Final = 10_000
"""Newest pairs of positions kept per peer; of older ones, one in each `THINNED` positions."""
THINNED: Final = 100
BEYOND: Final = 2**63 - 1
"""No log reaches this position."""
COPYING: Final = "(copying)"
"""In place of a log ID: the database is being filled with a copy of another site's."""


@dataclass(frozen=True, slots=True)
class MoveSiteCursor(Change):
    """A batch of a peer's log is here as a whole: written with the last of it."""

    kind: ClassVar[str] = "site_cursor"
    area: ClassVar[str] = "site_links"
    logged: ClassVar[bool] = False

    log: str
    their_position: int
    """The end of the batch in the peer's log."""
    knew: int
    """What the peer had of this site's log at that position."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        head: int = tx.value("SELECT position FROM log_head")
        for _, change in changes:
            log = tx.intern_one(change.log)
            tx.run(
                "INSERT INTO site_cursors (log, position) VALUES (?, ?)"
                " ON CONFLICT (log) DO UPDATE SET position = excluded.position"
                " WHERE site_cursors.position < excluded.position",
                (log, change.their_position),
            )
            tx.run(
                "INSERT INTO site_arrivals (log, their_position, position) VALUES (?, ?, ?)"
                " ON CONFLICT (log, their_position) DO NOTHING",
                (log, change.their_position, head),
            )
            _write_knowledge(tx, log, change.their_position, change.knew)


@dataclass(frozen=True, slots=True)
class NotePeerKnows(Change):
    """A peer acknowledged a batch of this site's log."""

    kind: ClassVar[str] = "site_knowledge"
    area: ClassVar[str] = "site_links"
    logged: ClassVar[bool] = False

    log: str
    their_position: int
    """Where the peer's log stood when the batch was on its disk."""
    knew: int
    """The end of the batch in this site's log."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            _write_knowledge(tx, tx.intern_one(change.log), change.their_position, change.knew)


def _write_knowledge(tx: WriteTransaction, log: int, their_position: int, knew: int) -> None:
    tx.run(
        "INSERT INTO site_knowledge (log, their_position, knew) VALUES (?, ?, ?)"
        " ON CONFLICT (log, their_position) DO UPDATE SET knew = excluded.knew"
        " WHERE site_knowledge.knew < excluded.knew",
        (log, their_position, knew),
    )


@dataclass(frozen=True, slots=True)
class ThinSiteMarks(Change):
    """Of old pairs of positions a few are enough: what is between them is only told again."""

    kind: ClassVar[str] = "site_marks"
    area: ClassVar[str] = "site_links"
    logged: ClassVar[bool] = False

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for (log,) in tx.all("SELECT log FROM site_cursors"):
            for newest, drop in (_THIN_ARRIVALS, _THIN_KNOWLEDGE):
                bound = tx.value(newest, (log, KEPT_MARKS))
                if bound is not None:
                    tx.run(drop, (log, bound, log, THINNED))


_THIN_ARRIVALS: Final = (
    "SELECT their_position FROM site_arrivals WHERE log = ? ORDER BY their_position DESC LIMIT 1 OFFSET ?",
    (
        "DELETE FROM site_arrivals WHERE log = ? AND their_position <= ? AND their_position NOT IN"
        " (SELECT MIN(their_position) FROM site_arrivals WHERE log = ? GROUP BY their_position / ?)"
    ),
)
_THIN_KNOWLEDGE: Final = (
    "SELECT their_position FROM site_knowledge WHERE log = ? ORDER BY their_position DESC LIMIT 1 OFFSET ?",
    (
        "DELETE FROM site_knowledge WHERE log = ? AND their_position <= ? AND their_position NOT IN"
        " (SELECT MIN(their_position) FROM site_knowledge WHERE log = ? GROUP BY their_position / ?)"
    ),
)


@dataclass(frozen=True, slots=True)
class ShareLog(Change):
    """A copy of this site's log up to a position is the beginning of another one."""

    kind: ClassVar[str] = "site_shared_log"
    area: ClassVar[str] = "site_links"
    logged: ClassVar[bool] = False

    log: str
    position: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            share_log(tx, change.log, change.position)


def share_log(tx: WriteTransaction, log: str, position: int) -> None:
    """Note that two logs are the same up to a position."""
    tx.run(
        "INSERT INTO site_shared_logs (log, position) VALUES (?, ?)"
        " ON CONFLICT (log) DO UPDATE SET position = excluded.position",
        (tx.intern_one(log), position),
    )


def set_log_id(tx: WriteTransaction, log_id: str) -> None:
    """The ID of this site's own log from now on."""
    tx.run("DELETE FROM site_log")
    tx.run("INSERT INTO site_log (log_id) VALUES (?)", (log_id,))


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """An event of this site's log, for a peer."""

    position: int
    room_id: str
    room_version: str
    json: bytes
    is_soft_failed: bool


class SiteLinksRepository:
    def is_known(self, tx: Transaction, log: str) -> bool:
        """Whether anything was ever heard of a log."""
        nid = tx.name_id(log)
        return any(
            tx.one(sql, (nid,)) is not None
            for sql in (
                "SELECT 1 FROM site_shared_logs WHERE log = ?",
                "SELECT 1 FROM site_cursors WHERE log = ?",
                "SELECT 1 FROM site_knowledge WHERE log = ? LIMIT 1",
            )
        )

    def find_log_id(self, tx: Transaction) -> str | None:
        """The ID of this site's own log; None: it is the site's name."""
        log_id: str | None = tx.value("SELECT log_id FROM site_log")
        return log_id

    def find_shared(self, tx: Transaction, log: str) -> int:
        """The position up to which another log and this one are the same; 0 if they never were."""
        position = tx.value("SELECT position FROM site_shared_logs WHERE log = ?", (tx.name_id(log),))
        return 0 if position is None else int(position)

    def get_cursor(self, tx: Transaction, log: str) -> int:
        """The position up to which the peer's log is here; 0 if nothing of it is."""
        position = tx.value("SELECT position FROM site_cursors WHERE log = ?", (tx.name_id(log),))
        return self.find_shared(tx, log) if position is None else int(position)

    def get_cursors(self, tx: Transaction) -> Mapping[str, int]:
        rows = tx.all("SELECT log, position FROM site_cursors")
        names = tx.names_of(row[0] for row in rows)
        return {names[row[0]]: row[1] for row in rows}

    def find_seen(self, tx: Transaction, log: str, position: int) -> int:
        """What of the peer's log was here when this site's log stood at `position`."""
        seen = tx.value(
            "SELECT MAX(their_position) FROM site_arrivals WHERE log = ? AND position <= ?",
            (tx.name_id(log), position),
        )
        return min(self.find_shared(tx, log), position) if seen is None else int(seen)

    def find_beginning(self, tx: Transaction, log: str) -> int:
        """The position of this site's log before which nothing of a peer's log came; beyond all if nothing ever did."""
        position = tx.value(
            "SELECT position FROM site_arrivals WHERE log = ? ORDER BY their_position LIMIT 1",
            (tx.name_id(log),),
        )
        return BEYOND if position is None else int(position)

    def find_floor(self, tx: Transaction, log: str, their_position: int) -> int | None:
        """A position of this site's log that whoever has seen the peer's log up to `their_position` has seen wholly.

        None if nothing is known of that time.
        """
        if their_position <= self.find_shared(tx, log):
            return their_position
        knew = tx.value(
            "SELECT knew FROM site_knowledge WHERE log = ? AND their_position <= ?"
            " ORDER BY their_position DESC LIMIT 1",
            (tx.name_id(log), their_position),
        )
        return None if knew is None else int(knew)

    def find_ceiling(self, tx: Transaction, log: str, their_position: int) -> int | None:
        """The position of this site's log from which on the peer's log up to `their_position` is here.

        None: not yet.
        """
        if their_position <= self.find_shared(tx, log):
            return their_position
        position = tx.value(
            "SELECT position FROM site_arrivals WHERE log = ? AND their_position >= ?"
            " ORDER BY their_position LIMIT 1",
            (tx.name_id(log), their_position),
        )
        return None if position is None else int(position)

    def read_events(
        self, tx: Transaction, peer: str, after: int, upto: int, limit: int, beginning: int = 0
    ) -> tuple[list[SiteEvent], int]:
        """Events of the timeline at log positions `after` < p <= `upto` that the peer did not bring here itself.

        What it brought before `beginning` it has lost since: it was built anew, perhaps from a third site's copy.
        With the position up to which that is all: `upto`, or less if there were more than `limit`.
        """
        kind = tx.name_id(StoreEvent.kind)
        rows = tx.all(
            "SELECT position, entry_key FROM log WHERE position > ? AND position <= ? AND kind = ?"
            " AND (origin <> ? OR position < ?) ORDER BY position LIMIT ?",
            (after, upto, kind, tx.name_id(peer) or -1, beginning, limit),
        )
        covered = upto if len(rows) < limit else int(rows[-1][0])
        positions = {orjson.loads(row[1])[1]: int(row[0]) for row in rows}
        return self._events(tx, positions), covered

    def _events(self, tx: Transaction, positions: Mapping[str, int]) -> list[SiteEvent]:
        wanted = list(positions)
        rows = [
            row
            for at in range(0, len(wanted), IN_LIST_LIMIT)
            for row in tx.all(
                "SELECT e.event_id, e.room, r.version, e.json, e.flags FROM events e"
                " JOIN rooms r ON r.room = e.room WHERE e.event_id IN (??)",
                (wanted[at : at + IN_LIST_LIMIT],),
            )
        ]
        names = tx.names_of(row[1] for row in rows)
        events = [
            SiteEvent(positions[row[0]], names[row[1]], row[2], bytes(row[3]), bool(row[4] & SOFT_FAILED))
            for row in rows
            # What is not in the timeline is asked for when something stands on it.
            if not row[4] & (OUTLIER | REJECTED)
        ]
        return sorted(events, key=lambda event: event.position)
