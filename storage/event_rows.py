"""Stored events: reading them back, by ID or along a room's timeline."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from storage.database import IN_LIST_LIMIT, Transaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

BEGINNING = -(2**62)
"""Before every ordering."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """A stored event. `room_version` tells how its JSON is to be read."""

    nid: int
    event_id: str
    room_id: str
    room_version: str
    ordering: int
    json: bytes
    flags: int
    push: int
    snapshot_nid: int | None
    replaces: str | None
    redacted_by: str | None
    thread: str | None

    @property
    def position(self) -> int:
        """The log position at which the event was stored."""
        return self.nid


_COLUMNS = (
    "e.nid, e.event_id, e.room, r.version, e.ordering, e.json, e.flags, e.push, e.snapshot,"
    " (SELECT p.event_id FROM events p WHERE p.nid = e.replaces),"
    " (SELECT x.event_id FROM events x WHERE x.nid = e.redacted_by), e.thread"
    " FROM events e JOIN rooms r ON r.room = e.room"
)
_BY_ID = f"SELECT {_COLUMNS} WHERE e.event_id IN (??)"
_BY_NID = f"SELECT {_COLUMNS} WHERE e.nid IN (??)"
_FORWARD = (
    f"SELECT {_COLUMNS} WHERE e.room = ? AND e.ordering > ? AND e.ordering <= ? AND e.flags = 0"
    " ORDER BY e.ordering LIMIT ?"
)
_BACKWARD = (
    f"SELECT {_COLUMNS} WHERE e.room = ? AND e.ordering > ? AND e.ordering <= ? AND e.flags = 0"
    " ORDER BY e.ordering DESC LIMIT ?"
)
_FROM_TIME = (
    f"SELECT {_COLUMNS} WHERE e.room = ? AND e.origin_server_ts >= ? AND e.flags = 0"
    " ORDER BY e.origin_server_ts, e.ordering LIMIT ? OFFSET ?"
)
_UPTO_TIME = (
    f"SELECT {_COLUMNS} WHERE e.room = ? AND e.origin_server_ts <= ? AND e.flags = 0"
    " ORDER BY e.origin_server_ts DESC, e.ordering DESC LIMIT ? OFFSET ?"
)
_STATE_BETWEEN = (
    f"SELECT {_COLUMNS} WHERE e.room = ? AND e.ordering > ? AND e.ordering <= ? AND e.flags = 0"
    " AND e.state_key IS NOT NULL ORDER BY e.ordering"
)


class EventsRepository:
    """Reads events. Timelines leave out what was rejected, soft failed or is an outlier."""

    def get_by_id(self, tx: Transaction, event_ids: Iterable[str]) -> list[EventRow]:
        """Those that exist, in no order, whatever their flags."""
        # PostgreSQL's text cannot hold U+0000, so no event has such an ID: it is not even asked.
        return self._in_chunks(tx, _BY_ID, [event_id for event_id in event_ids if "\x00" not in event_id])

    def get_by_nid(self, tx: Transaction, nids: Iterable[int]) -> list[EventRow]:
        """Those that exist, in no order, whatever their flags."""
        return self._in_chunks(tx, _BY_NID, list(nids))

    def get_forward(self, tx: Transaction, room_id: str, after: int, upto: int, limit: int) -> list[EventRow]:
        """The first events of a room with `after` < ordering <= `upto`, oldest first."""
        return self._range(tx, _FORWARD, room_id, after, upto, limit)

    def get_backward(
        self, tx: Transaction, room_id: str, after: int, upto: int, limit: int
    ) -> list[EventRow]:
        """The last events of a room with `after` < ordering <= `upto`, newest first."""
        return self._range(tx, _BACKWARD, room_id, after, upto, limit)

    def get_ends(
        self, tx: Transaction, room_ids: Iterable[str], upto: int, limit: int
    ) -> dict[str, list[EventRow]]:
        """By room the last events up to an ordering, newest first; at most `limit` of each."""
        rooms = tx.name_ids(room_ids)
        rows = tx.each(_BACKWARD, [(room, BEGINNING, upto, limit) for room in rooms.values()])
        ends: dict[str, list[EventRow]] = {room_id: [] for room_id in rooms}
        for row in sorted(_rows(tx, rows), key=lambda row: row.ordering, reverse=True):
            ends[row.room_id].append(row)
        return ends

    def get_from_time(
        self, tx: Transaction, room_id: str, from_ms: int, limit: int, skipped: int
    ) -> list[EventRow]:
        """Events of a room with this origin_server_ts or a later one, the earliest first."""
        room = tx.name_id(room_id)
        return [] if room is None else _rows(tx, tx.all(_FROM_TIME, (room, from_ms, limit, skipped)))

    def get_upto_time(
        self, tx: Transaction, room_id: str, upto_ms: int, limit: int, skipped: int
    ) -> list[EventRow]:
        """Events of a room with this origin_server_ts or an earlier one, the latest first."""
        room = tx.name_id(room_id)
        return [] if room is None else _rows(tx, tx.all(_UPTO_TIME, (room, upto_ms, limit, skipped)))

    def get_state_between(self, tx: Transaction, room_id: str, after: int, upto: int) -> list[EventRow]:
        """The room's state events with `after` < ordering <= `upto`, oldest first."""
        room = tx.name_id(room_id)
        return [] if room is None else _rows(tx, tx.all(_STATE_BETWEEN, (room, after, upto)))

    def get_reset_entries(
        self, tx: Transaction, room_id: str, after: int, upto: int
    ) -> list[tuple[str, str]]:
        """(type, state key) of entries that state resolution changed at positions `after` < p <= `upto`."""
        room = tx.name_id(room_id)
        rows = tx.all(
            "SELECT DISTINCT type, state_key FROM state_resets WHERE room = ? AND position > ? AND position <= ?",
            (room, after, upto),
        )
        names = tx.names_of(itertools.chain.from_iterable(rows))
        return [(names[row[0]], names[row[1]]) for row in rows]

    def _range(
        self, tx: Transaction, sql: str, room_id: str, after: int, upto: int, limit: int
    ) -> list[EventRow]:
        room = tx.name_id(room_id)
        return [] if room is None else _rows(tx, tx.all(sql, (room, after, upto, limit)))

    def _in_chunks(self, tx: Transaction, sql: str, keys: Sequence[Any]) -> list[EventRow]:
        found: list[EventRow] = []
        for start in range(0, len(keys), IN_LIST_LIMIT):
            found.extend(_rows(tx, tx.all(sql, (keys[start : start + IN_LIST_LIMIT],))))
        return found


def _rows(tx: Transaction, rows: Sequence[Row]) -> list[EventRow]:
    names = tx.names_of(
        itertools.chain((row[2] for row in rows), (row[11] for row in rows if row[11] is not None))
    )
    return [_row(names, row) for row in rows]


def _row(names: Mapping[int, str], row: Row) -> EventRow:
    nid, event_id, room, version, ordering, json, flags, push, snapshot, replaces, redacted_by, thread = row
    return EventRow(
        nid,
        event_id,
        names[room],
        version,
        ordering,
        json,
        flags,
        push,
        snapshot,
        replaces,
        redacted_by,
        None if thread is None else names[thread],
    )
