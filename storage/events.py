"""Events: storing them with everything that follows from them. `event_rows.py` reads them back."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import orjson

from storage.auth_chains import auth_ids, write_auth_chains
from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.memberships import MembershipChange, write_memberships
from storage.snapshots import GONE, NewSnapshot, write_snapshots
from synapse_like_config.lazy_dataclasses import dataclass

ORDERING_STEP = 1 << 20
"""Between neighbours in a timeline there is room for this much history that is found later."""

MAX_TIME_MS = 2**62

REJECTED = 1
SOFT_FAILED = 2
OUTLIER = 4

NOTIFY = 1
HIGHLIGHT = 2

StateChange = tuple[str, str, str | None]
"""Type, state key, event ID (None: the entry is gone)."""


@dataclass(frozen=True, slots=True)
class NewState:
    """The room's state after an event that changed it."""

    parent: str | None
    """The event ID that names the snapshot of before; None at the room's beginning."""
    changes: tuple[StateChange, ...]
    """What differs from the parent, the event itself included."""
    current_changes: tuple[StateChange, ...] = ()
    """What changed in the room's current state although it is not this event's own entry."""


@dataclass(frozen=True, slots=True)
class Relation:
    """m.relates_to, as far as it is indexed."""

    parent: str
    rel_type: str
    annotation: str | None


@dataclass(frozen=True, slots=True)
class PersonalPush:
    """The outcome of one user's push rules where it differs from the default rules'."""

    user_id: str
    push: int
    actions: bytes


@dataclass(frozen=True, slots=True)
class StoreEvent(Change):
    """An event with its place in the room. The log entry that sync, federation and push follow."""

    kind: ClassVar[str] = "event"
    area: ClassVar[str] = "rooms"

    room_id: str
    event_id: str
    type: str
    sender: str
    state_key: str | None
    json: bytes
    snapshot: str | None
    """The event ID that names the state after this event; None for outliers."""
    snapshot_nid: int | None = None
    """The snapshot's number, if the caller knows it."""
    new_state: NewState | None = None
    """Given if `snapshot` is this event: it changed the state."""
    replaces: str | None = None
    flags: int = 0
    heads: tuple[str, ...] | None = None
    """The forward extremities after this event; None if it is the only one."""
    memberships: tuple[MembershipChange, ...] = ()
    """What changed in the room's current memberships."""
    redacts: str | None = None
    """The event that this one redacts, if it may."""
    relation: Relation | None = None
    thread: str | None = None
    push: int = 0
    personal_push: tuple[PersonalPush, ...] = ()
    ordering: int | None = None
    """Place in the timeline, for history found later; None for what happens now."""
    origin_server_ts: int = 0
    """As the event has it, milliseconds: what it is found by when somebody asks for a time."""
    sent_by: tuple[str, str] | None = None
    """Device and transaction ID of the request that sent it, if it was sent here: not stored, for followers."""
    outlier_nid: int | None = None
    """Its number, if it is stored already as an outlier and takes its place in the room now."""
    redacted_by: str | None = None
    """History found later: the redaction that was here before it."""
    auth_events: tuple[str, ...] | None = None
    """Of state events the IDs that they name, if the caller has them at hand; None: they are read from the JSON."""

    def key(self) -> tuple[str, ...]:
        return (self.room_id, self.event_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        _EventWriter(tx, changes).write()


class _EventWriter:
    """Writes a batch of events: names and numbers once for all, then one statement per table."""

    def __init__(self, tx: WriteTransaction, changes: Sequence[tuple[int, StoreEvent]]) -> None:
        self._tx = tx
        self._changes = changes
        self._names = tx.intern(itertools.chain.from_iterable(_names(change) for _, change in changes))
        self._nids = {change.event_id: _nid(position, change) for position, change in changes}
        self._nids.update(find_event_nids(tx, self._unknown_events()))

    def _unknown_events(self) -> set[str]:
        wanted = set()
        for _, change in self._changes:
            if change.snapshot is not None and change.snapshot_nid is None:
                wanted.add(change.snapshot)
            if change.replaces is not None:
                wanted.add(change.replaces)
            if change.redacted_by is not None:
                wanted.add(change.redacted_by)
            if change.new_state is not None:
                if change.new_state.parent is not None:
                    wanted.add(change.new_state.parent)
                entries = itertools.chain(change.new_state.changes, change.new_state.current_changes)
                wanted.update(event_id for _, _, event_id in entries if event_id is not None)
            wanted.update(membership.event_id for membership in change.memberships)
        return wanted - self._nids.keys()

    def write(self) -> None:
        tx, names = self._tx, self._names
        tx.many(
            "INSERT INTO events (nid, event_id, room, ordering, type, sender, state_key, snapshot, replaces, flags,"
            " push, thread, json, origin_server_ts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                self._event_row(position, change)
                for position, change in self._changes
                if change.outlier_nid is None
            ],
        )
        write_auth_chains(
            tx,
            {
                position: auth_ids(change.json) if change.auth_events is None else change.auth_events
                for position, change in self._changes
                # Only state is ever named by other events as an auth event.
                if change.outlier_nid is None and change.state_key is not None
            },
        )
        self._place_outliers()
        self._write_states()
        write_memberships(
            tx,
            [
                (
                    names[change.room_id],
                    names[membership.user_id],
                    self._nids[membership.event_id],
                    position,
                    membership,
                )
                for position, change in self._changes
                for membership in change.memberships
            ],
        )
        tx.many(
            "INSERT INTO relations (child, parent, room, rel_type, type, sender, ordering, annotation)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                self._relation_row(position, change)
                for position, change in self._changes
                if change.relation is not None
            ],
        )
        tx.many(
            "INSERT INTO personal_push (user_nid, room, event, push, default_push, thread, actions)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [row for position, change in self._changes for row in self._push_rows(position, change)],
        )
        self._write_redactions()
        tx.many(
            "UPDATE rooms SET heads_at = ?, heads = ? WHERE room = ?",
            [
                (position, orjson.dumps(change.heads), names[change.room_id])
                for position, change in self._changes
                if change.heads is not None
            ],
        )

    def _place_outliers(self) -> None:
        for position, change in self._changes:
            if change.outlier_nid is None:
                continue
            # Beginning with the number, as all of them do.
            nid, _, _, ordering, _, _, _, snapshot, replaces, flags, push, thread, _, _ = self._event_row(
                position, change
            )
            self._tx.run(
                "UPDATE events SET ordering = ?, snapshot = ?, replaces = ?, flags = ?, push = ?, thread = ?"
                " WHERE nid = ?",
                (ordering, snapshot, replaces, flags, push, thread, nid),
            )

    def _event_row(self, position: int, change: StoreEvent) -> Sequence[Any]:
        names = self._names
        snapshot = change.snapshot_nid
        if snapshot is None and change.snapshot is not None:
            snapshot = self._nids[change.snapshot]
        return (
            _nid(position, change),
            change.event_id,
            names[change.room_id],
            position * ORDERING_STEP if change.ordering is None else change.ordering,
            names[change.type],
            names[change.sender],
            None if change.state_key is None else names[change.state_key],
            snapshot,
            None if change.replaces is None else self._nids[change.replaces],
            change.flags,
            change.push,
            None if change.thread is None else names[change.thread],
            change.json,
            # Old room versions allow integers that no column can hold.
            max(-MAX_TIME_MS, min(change.origin_server_ts, MAX_TIME_MS)),
        )

    def _write_states(self) -> None:
        snapshots, resets = [], []
        for position, change in self._changes:
            if change.new_state is None:
                continue
            parent = None if change.new_state.parent is None else self._nids[change.new_state.parent]
            numbered = self._numbered(change.new_state.changes)
            snapshots.append(NewSnapshot(_nid(position, change), parent, numbered))
            for (event_type, state_key), event in self._numbered(change.new_state.current_changes).items():
                resets.append((self._names[change.room_id], position, event_type, state_key, event or None))
        if snapshots:
            write_snapshots(self._tx, snapshots)
        self._tx.many(
            "INSERT INTO state_resets (room, position, type, state_key, event) VALUES (?, ?, ?, ?, ?)", resets
        )

    def _numbered(self, changes: Sequence[StateChange]) -> dict[tuple[int, int], int]:
        return {
            (self._names[event_type], self._names[state_key]): GONE
            if event_id is None
            else self._nids[event_id]
            for event_type, state_key, event_id in changes
        }

    def _relation_row(self, position: int, change: StoreEvent) -> Sequence[Any]:
        assert change.relation is not None
        names = self._names
        annotation = change.relation.annotation
        return (
            _nid(position, change),
            change.relation.parent,
            names[change.room_id],
            names[change.relation.rel_type],
            names[change.type],
            names[change.sender],
            position * ORDERING_STEP if change.ordering is None else change.ordering,
            None if annotation is None else annotation.encode(),
        )

    def _push_rows(self, position: int, change: StoreEvent) -> Iterable[Sequence[Any]]:
        room = self._names[change.room_id]
        thread = None if change.thread is None else self._names[change.thread]
        for personal in change.personal_push:
            user = self._names[personal.user_id]
            nid = _nid(position, change)
            yield (user, room, nid, personal.push, change.push, thread, personal.actions)

    def _write_redactions(self) -> None:
        for position, change in self._changes:
            if change.redacts is not None:
                # Only within the room: a redaction must not reach into others.
                self._tx.run(
                    "UPDATE events SET redacted_by = ? WHERE event_id = ? AND room = ? AND redacted_by IS NULL",
                    (_nid(position, change), change.redacts, self._names[change.room_id]),
                )
            if change.redacted_by is not None:
                self._tx.run(
                    "UPDATE events SET redacted_by = ? WHERE nid = ? AND redacted_by IS NULL",
                    (self._nids[change.redacted_by], _nid(position, change)),
                )


def _nid(position: int, change: StoreEvent) -> int:
    # What refers to an outlier goes on referring to it by the number that it has.
    return position if change.outlier_nid is None else change.outlier_nid


def _names(change: StoreEvent) -> Iterable[str]:
    yield change.room_id
    yield change.type
    yield change.sender
    if change.state_key is not None:
        yield change.state_key
    if change.thread is not None:
        yield change.thread
    if change.relation is not None:
        yield change.relation.rel_type
    if change.new_state is not None:
        for event_type, state_key, _ in itertools.chain(
            change.new_state.changes, change.new_state.current_changes
        ):
            yield event_type
            yield state_key
    for membership in change.memberships:
        yield membership.user_id
    for personal in change.personal_push:
        yield personal.user_id


def find_event_nids(tx: Transaction, event_ids: Iterable[str]) -> dict[str, int]:
    """The numbers of those events that are stored."""
    found: dict[str, int] = {}
    wanted = list(event_ids)
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        chunk = wanted[start : start + IN_LIST_LIMIT]
        found.update(tx.all("SELECT event_id, nid FROM events WHERE event_id IN (??)", (chunk,)))
    return found


def find_event_ids(tx: Transaction, nids: Iterable[int]) -> dict[int, str]:
    """The event IDs of those numbers that are events."""
    found: dict[int, str] = {}
    wanted = list(nids)
    for start in range(0, len(wanted), IN_LIST_LIMIT):
        chunk = wanted[start : start + IN_LIST_LIMIT]
        found.update(tx.all("SELECT nid, event_id FROM events WHERE nid IN (??)", (chunk,)))
    return found
