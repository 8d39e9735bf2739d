"""Unread counts and notifications, read from the outcomes that are stored with the events.

`events.push` holds for every member; a row in `personal_push` says what it is instead for one user. What a user has
read is bounded by thread: receipts without a thread and the join hold for the whole room, others for their thread,
and so does an event that the user sent.

What is counted by room is one SELECT that is run for each room (`Transaction.each`): that keeps both engines on the
index by room and ordering, which joins with computed bounds do not.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

import orjson

from storage.database import IN_LIST_LIMIT, Transaction
from storage.engines.engine import Row
from storage.events import ORDERING_STEP
from storage.receipts import MAIN_THREAD
from synapse_like_config.lazy_dataclasses import dataclass

ROOMS_PER_STATEMENT: Final = 500
MAX_NAME_CHANGES: Final = 100
"""How many changes of a member's profile are looked behind for the join."""

_NO_THREAD: Final = 0
_MAIN: Final = 0
"""In place of a thread's number: the main timeline. No name has this number."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Numbers of events; `notifications` counts the highlights too."""

    notifications: int
    highlights: int


NOTHING_UNREAD: Final = Unread(0, 0)


@dataclass(frozen=True, slots=True)
class UnreadRow:
    """What is unread in a room: in the main timeline, and by root in those threads that have something unread."""

    main: Unread
    threads: Mapping[str, Unread]


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """An event that notified the user."""

    event_nid: int
    ordering: int
    push: int
    actions: bytes | None
    """JSON list if the outcome was the user's own, None for an outcome of the default rules."""
    is_read: bool


@dataclass(slots=True)
class _Bounds:
    """Up to which ordering a room is read."""

    room: int
    joined: int
    """The ordering of the join."""
    whole: int
    threads: dict[int, int] = field(default_factory=dict)
    """By thread, where further than `whole`; the main timeline is `_MAIN`."""

    def of(self, thread: int) -> int:
        return max(self.whole, self.threads.get(thread, 0))

    def raise_to(self, thread: int, ordering: int) -> None:
        if ordering > self.of(thread):
            self.threads[thread] = ordering


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whose counts these are, as numbers."""

    user: int
    member_event: int
    """The number of the type `m.room.member`."""


_JOINED_AND_INVITED = (
    "SELECT room, membership, position, event FROM memberships"
    " WHERE user_nid = ? AND membership <= 2 AND room IN (??)"
)
_REPLACED = (
    "SELECT e.nid, r.nid, r.json FROM events e JOIN events r ON r.nid = e.replaces WHERE e.nid IN (??)"
)
_RECEIPTS = "SELECT room, thread, MAX(ordering) FROM receipts WHERE user_nid = ? AND room IN (??) GROUP BY room, thread"

# The user's newest event of the main timeline. Changes of one's own profile are no sign of having read anything.
_OWN_IN_MAIN = (
    "SELECT * FROM (SELECT room, ordering FROM events WHERE room = ? AND ordering > ? AND thread IS NULL"
    " AND sender = ? AND type <> ? AND flags = 0 ORDER BY ordering DESC LIMIT 1) AS own"
)
_OWN_IN_THREADS = (
    "SELECT room, thread, MAX(CASE WHEN sender = ? THEN ordering ELSE 0 END) FROM events"
    " WHERE room = ? AND ordering > ? AND thread IS NOT NULL AND flags = 0 GROUP BY room, thread"
)
_MAIN_COUNTS = (
    "SELECT room, COUNT(*), SUM(CASE WHEN push >= 2 THEN 1 ELSE 0 END) FROM events"
    " WHERE room = ? AND ordering > ? AND thread IS NULL AND flags = 0 AND push > 0 AND sender <> ?"
    " AND redacted_by IS NULL GROUP BY room"
)
_PERSONAL = (
    "SUM(CASE WHEN p.push > 0 THEN 1 ELSE 0 END) - SUM(CASE WHEN p.default_push > 0 THEN 1 ELSE 0 END),"
    " SUM(CASE WHEN p.push >= 2 THEN 1 ELSE 0 END) - SUM(CASE WHEN p.default_push >= 2 THEN 1 ELSE 0 END)"
    " FROM personal_push p JOIN events e ON e.nid = p.event"
    " WHERE p.user_nid = ? AND p.room = ? AND p.event > ? AND e.flags = 0 AND e.redacted_by IS NULL"
)
_MAIN_PERSONAL = f"SELECT p.room, {_PERSONAL} AND p.thread IS NULL GROUP BY p.room"
# `{cases}` becomes one WHEN for each thread.
_THREAD_COUNTS = (
    "SELECT thread, COUNT(*), SUM(CASE WHEN push >= 2 THEN 1 ELSE 0 END) FROM events"
    " WHERE room = ? AND ordering > ? AND thread IN (??) AND ordering > CASE thread {cases} END AND thread IS NOT NULL"
    " AND flags = 0 AND push > 0 AND sender <> ? AND redacted_by IS NULL GROUP BY thread"
)
_THREAD_PERSONAL = (
    f"SELECT p.thread, {_PERSONAL} AND p.thread IN (??)"
    " AND p.event > CASE p.thread {cases} END GROUP BY p.thread"
)

# Highlights are rare and have an index of their own; `{wanted}` is spelled so that it is used.
_SHARED_NOTIFICATIONS = (
    "SELECT * FROM (SELECT e.room, e.nid, e.ordering, e.push, e.thread FROM events e"
    " WHERE e.room = ? AND e.ordering > ? AND e.ordering < ? AND {wanted} AND e.sender <> ?"
    " AND e.flags = 0 AND e.redacted_by IS NULL AND NOT EXISTS (SELECT 1 FROM personal_push p"
    " WHERE p.user_nid = ? AND p.room = e.room AND p.event = e.nid) ORDER BY e.ordering DESC LIMIT ?) AS shared"
)
_PERSONAL_NOTIFICATIONS = (
    "SELECT * FROM (SELECT p.room, e.nid, e.ordering, p.push, e.thread, p.actions"
    " FROM personal_push p JOIN events e ON e.nid = p.event"
    " WHERE p.user_nid = ? AND p.room = ? AND p.event > ? AND p.event < ? AND p.push >= ? AND e.flags = 0"
    " AND e.redacted_by IS NULL ORDER BY p.event DESC LIMIT ?) AS personal"
)


class UnreadRepository:
    """Counts what a user has not read."""

    def count(self, tx: Transaction, user_id: str, room_ids: Collection[str]) -> dict[str, UnreadRow]:
        """By room ID, for those of the rooms that the user is joined to."""
        reader = _reader(tx, user_id)
        if reader is None:
            return {}
        names = tx.name_ids(room_ids)
        counted: dict[str, UnreadRow] = {}
        for chunk in _chunks(list(names.items()), ROOMS_PER_STATEMENT):
            rooms = dict(chunk)
            bounds = _read_bounds(tx, reader, list(rooms.values()))
            main = _count_main(tx, reader, bounds.values())
            threads = _count_threads(tx, reader, bounds.values())
            for room_id, room in rooms.items():
                if room in bounds:
                    counted[room_id] = UnreadRow(main.get(room, NOTHING_UNREAD), threads.get(room, {}))
        return counted

    def get_notifications(
        self, tx: Transaction, user_id: str, before: int, limit: int, lowest_push: int
    ) -> list[NotificationRow]:
        """The newest events before the ordering `before` that notified the user at least so, newest first."""
        reader = _reader(tx, user_id)
        if reader is None:
            return []
        rows = tx.all("SELECT room FROM memberships WHERE user_nid = ? AND membership <= 2", (reader.user,))
        found: list[NotificationRow] = []
        for chunk in _chunks([row[0] for row in rows], ROOMS_PER_STATEMENT):
            found += _read_notifications(tx, reader, chunk, before, limit, lowest_push)
            found.sort(key=lambda row: row.ordering, reverse=True)
            del found[limit:]
        return found


def _reader(tx: Transaction, user_id: str) -> _Reader | None:
    names = tx.name_ids((user_id, "m.room.member"))
    # Without a member event there are no rooms.
    return _Reader(names[user_id], names["m.room.member"]) if len(names) == 2 else None


def _read_bounds(tx: Transaction, reader: _Reader, rooms: Sequence[int]) -> dict[int, _Bounds]:
    """For those of the rooms that the user is joined to."""
    joins = {
        room: (position, event)
        for room, membership, position, event in tx.all(_JOINED_AND_INVITED, (reader.user, rooms))
        if membership == 1
    }
    bounds = {
        room: _Bounds(room, position * ORDERING_STEP, position * ORDERING_STEP)
        for room, position in _find_joins(tx, joins).items()
    }
    main = tx.name_id(MAIN_THREAD)
    receipts = tx.all(_RECEIPTS, (reader.user, list(bounds)))
    for room, thread, ordering in receipts:
        if thread == _NO_THREAD:
            bounds[room].whole = max(bounds[room].whole, ordering)
    for room, thread, ordering in receipts:
        if thread != _NO_THREAD:
            bounds[room].raise_to(_MAIN if thread == main else thread, ordering)
    # "When the user updates their read receipt (either by using the API or by sending an event), notifications prior
    # to and including that event MUST be marked as read."
    own_main = tx.each(
        _OWN_IN_MAIN,
        [(each.room, each.of(_MAIN), reader.user, reader.member_event) for each in bounds.values()],
    )
    for room, ordering in own_main:
        bounds[room].raise_to(_MAIN, ordering)
    own = tx.each(_OWN_IN_THREADS, [(reader.user, each.room, each.whole) for each in bounds.values()])
    for room, thread, ordering in own:
        # Threads without an event of the user are kept too: they are the threads that there is anything to count in.
        bounds[room].threads[thread] = max(bounds[room].of(thread), ordering)
    return bounds


def _find_joins(tx: Transaction, joins: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """By room the position of the event that the user joined with, from that of the present member event.

    Who changes their name joins again, as far as the room's state is concerned: look behind such events.
    """
    found = {room: position for room, (position, _) in joins.items()}
    # An event that is in force again after a state resolution tells nothing about before.
    looked_at = {event: room for room, (position, event) in joins.items() if position == event}
    for _ in range(MAX_NAME_CHANGES):
        rows = tx.all(_REPLACED, (list(looked_at),)) if looked_at else []
        behind: dict[int, int] = {}
        for event, replaced, json in rows:
            if orjson.loads(json)["content"].get("membership") == "join":
                behind[replaced] = looked_at[event]
        if not behind:
            break
        found.update((room, event) for event, room in behind.items())
        looked_at = behind
    return found


def _count_main(tx: Transaction, reader: _Reader, bounds: Collection[_Bounds]) -> dict[int, Unread]:
    rows = tx.each(_MAIN_COUNTS, [(each.room, each.of(_MAIN), reader.user) for each in bounds])
    rows += tx.each(
        _MAIN_PERSONAL, [(reader.user, each.room, each.of(_MAIN) // ORDERING_STEP) for each in bounds]
    )
    return _sums((room, counts) for room, *counts in rows)


def _count_threads(
    tx: Transaction, reader: _Reader, bounds: Collection[_Bounds]
) -> dict[int, dict[str, Unread]]:
    sums: dict[int, dict[int, Unread]] = {}
    for each in bounds:
        threads = {thread: bound for thread, bound in each.threads.items() if thread != _MAIN}
        if not threads:
            continue
        rows: list[Row] = []
        for chunk in _chunks(list(threads.items()), IN_LIST_LIMIT // 3):
            rows += _read_thread_counts(tx, reader, each, dict(chunk))
        sums[each.room] = _sums((thread, counts) for thread, *counts in rows)
    names = tx.names_of(thread for threads in sums.values() for thread in threads)
    return {
        room: {names[thread]: unread for thread, unread in threads.items() if unread != NOTHING_UNREAD}
        for room, threads in sums.items()
    }


def _read_thread_counts(
    tx: Transaction, reader: _Reader, each: _Bounds, threads: Mapping[int, int]
) -> list[Row]:
    cases = " ".join("WHEN ? THEN ?" for _ in threads)
    orderings = [number for item in threads.items() for number in item]
    nids = [number for thread, bound in threads.items() for number in (thread, bound // ORDERING_STEP)]
    # The lowest bound lets the index leave out what is read in every thread.
    lowest = min(threads.values())
    rows = tx.all(
        _THREAD_COUNTS.replace("{cases}", cases),
        (each.room, lowest, list(threads), *orderings, reader.user),
    )
    rows += tx.all(
        _THREAD_PERSONAL.replace("{cases}", cases),
        (reader.user, each.room, lowest // ORDERING_STEP, list(threads), *nids),
    )
    return rows


def _read_notifications(
    tx: Transaction, reader: _Reader, rooms: Sequence[int], before: int, limit: int, lowest_push: int
) -> list[NotificationRow]:
    bounds = _read_bounds(tx, reader, rooms)
    spans = {room: (each.joined, before) for room, each in bounds.items()}
    spans.update(_invited_spans(tx, reader, rooms, before))
    shared = _SHARED_NOTIFICATIONS.replace("{wanted}", "e.push >= 2" if lowest_push >= 2 else "e.push > 0")
    user = reader.user
    rows: list[tuple[Any, ...]] = [
        (*row, None)
        for row in tx.each(
            shared,
            [(room, low, high, user, user, limit) for room, (low, high) in spans.items() if room in bounds],
        )
    ]
    rows += tx.each(
        _PERSONAL_NOTIFICATIONS,
        [
            (user, room, low // ORDERING_STEP, -(-high // ORDERING_STEP), lowest_push, limit)
            for room, (low, high) in spans.items()
        ],
    )
    found = []
    for room, nid, ordering, push, thread, actions in rows:
        # An invitation stays unread until it is answered.
        is_read = room in bounds and ordering <= bounds[room].of(_MAIN if thread is None else thread)
        found.append(
            NotificationRow(nid, ordering, push, None if actions is None else bytes(actions), is_read)
        )
    return found


def _invited_spans(
    tx: Transaction, reader: _Reader, rooms: Sequence[int], before: int
) -> dict[int, tuple[int, int]]:
    """Between which orderings the invitations to rooms lie: nothing else there concerns the user yet."""
    spans: dict[int, tuple[int, int]] = {}
    for room, membership, position, _ in tx.all(_JOINED_AND_INVITED, (reader.user, rooms)):
        if membership != 1:
            at = position * ORDERING_STEP
            spans[room] = (at - 1, min(at + 1, before))
    return spans


def _sums(rows: Iterable[tuple[int, Sequence[int]]]) -> dict[int, Unread]:
    sums: dict[int, Unread] = {}
    for key, (notifications, highlights) in rows:
        sum_so_far = sums.get(key, NOTHING_UNREAD)
        sums[key] = Unread(
            sum_so_far.notifications + int(notifications), sum_so_far.highlights + int(highlights)
        )
    return sums


def _chunks(values: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
