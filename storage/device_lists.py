"""Whose keys changed, and who came into or went out of sight: what tells clients to look at keys again."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

import orjson

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass

EVERYBODY = 0
_JOIN = 1
"""How `memberships.membership` says join (storage/memberships.py)."""
MAX_MEMBERSHIP_STEPS = 64
"""How many changes of one membership are followed backwards."""


@dataclass(frozen=True, slots=True)
class DeviceListChanged(Change):
    """The keys or signatures of a user changed, for everybody who shares a room or for one viewer only."""

    kind: ClassVar[str] = "device_list"
    area: ClassVar[str] = "keys"

    user_id: str
    viewer_id: str | None = None
    """Who alone can see the difference; None: everybody."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id,) if self.viewer_id is None else (self.user_id, self.viewer_id)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        names = tx.intern(name for _, change in changes for name in change.key())
        newest = {
            (
                names[change.user_id],
                EVERYBODY if change.viewer_id is None else names[change.viewer_id],
            ): position
            for position, change in changes
        }
        tx.later(
            "INSERT INTO device_list_changes (user_nid, viewer_nid, position) VALUES (?, ?, ?)"
            " ON CONFLICT (user_nid, viewer_nid) DO UPDATE SET position = excluded.position",
            [(user, viewer, position) for (user, viewer), position in newest.items()],
        )


@dataclass(frozen=True, slots=True)
class ChangedUsers:
    """Users whose keys changed after a position."""

    for_everybody: frozenset[str]
    for_viewer: frozenset[str]
    """Those of whom only the viewer sees the difference."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """A user's membership in a room: whether it is `join` now, and since which position and event."""

    room_id: str
    user_id: str
    is_joined: bool
    position: int
    event_nid: int


class DeviceListsRepository:
    """Reads changes of keys and of memberships, both by position."""

    def get_changed_users(self, tx: Transaction, viewer_id: str, after: int) -> ChangedUsers:
        """Everybody whose keys changed after the position, whether the viewer shares a room with them or not."""
        viewer = tx.name_id(viewer_id)
        rows = tx.all(
            "SELECT user_nid, viewer_nid FROM device_list_changes WHERE viewer_nid IN (??) AND position > ?",
            ([EVERYBODY] if viewer is None else [EVERYBODY, viewer], after),
        )
        names = tx.names_of(row[0] for row in rows)
        return ChangedUsers(
            frozenset(names[user] for user, of in rows if of == EVERYBODY),
            frozenset(names[user] for user, of in rows if of != EVERYBODY),
        )

    def get_attendances_of(self, tx: Transaction, user_id: str) -> list[Attendance]:
        """Every room that the user has or had a membership in."""
        user = tx.name_id(user_id)
        return [] if user is None else self._attendances(tx, "user_nid = ?", (user,))

    def get_attendances_changed_after(self, tx: Transaction, after: int) -> list[Attendance]:
        """Every membership of every room that became what it is after the position."""
        return self._attendances(tx, "position > ?", (after,))

    def get_attendances_in(self, tx: Transaction, room_ids: Iterable[str], upto: int) -> list[Attendance]:
        """The joined members of rooms whose memberships are not newer than the position."""
        rooms = list(tx.name_ids(room_ids).values())
        found = []
        for chunk in _chunks(rooms):
            found += self._attendances(
                tx, "room IN (??) AND membership = ? AND position <= ?", (chunk, _JOIN, upto)
            )
        return found

    def _attendances(self, tx: Transaction, where: str, parameters: Sequence[object]) -> list[Attendance]:
        rows = tx.all(
            f"SELECT room, user_nid, membership, position, event FROM memberships WHERE {where}",  # noqa: S608
            parameters,
        )
        names = tx.names_of(number for row in rows for number in row[:2])
        return [
            Attendance(names[room], names[user], membership == _JOIN, position, event)
            for room, user, membership, position, event in rows
        ]

    def find_joined_at(
        self, tx: Transaction, attendances: Sequence[Attendance], position: int
    ) -> set[tuple[str, str]]:
        """(room, user) of those who were joined at the position, by the events that their memberships replaced."""
        joined = {
            (one.room_id, one.user_id) for one in attendances if one.position <= position and one.is_joined
        }
        # A membership that state resolution set back to an older event says nothing about the time between.
        following = {
            one.event_nid: (one.room_id, one.user_id)
            for one in attendances
            if one.position > position and one.event_nid > position
        }
        for _ in range(MAX_MEMBERSHIP_STEPS):
            if not following:
                break
            replaced = self._replaced(tx, following)
            joined.update(_joined_before(tx, {nid: who for nid, who in replaced.items() if nid <= position}))
            following = {nid: who for nid, who in replaced.items() if nid > position}
        return joined

    def _replaced(self, tx: Transaction, events: dict[int, tuple[str, str]]) -> dict[int, tuple[str, str]]:
        found = {}
        for chunk in _chunks(list(events)):
            for nid, replaces in tx.all("SELECT nid, replaces FROM events WHERE nid IN (??)", (chunk,)):
                if replaces is not None:
                    found[replaces] = events[nid]
        return found

    def get_joined_members(self, tx: Transaction, room_ids: Iterable[str]) -> set[str]:
        """Everybody who is joined to one of the rooms."""
        rooms = list(tx.name_ids(room_ids).values())
        users: set[int] = set()
        for chunk in _chunks(rooms):
            users.update(
                row[0]
                for row in tx.all(
                    "SELECT user_nid FROM memberships WHERE room IN (??) AND membership = ?",
                    (chunk, _JOIN),
                )
            )
        return set(tx.names_of(users).values())

    def find_sharing(self, tx: Transaction, user_id: str, others: Iterable[str]) -> set[str]:
        """Those of the others who are joined to a room that the user is joined to."""
        user = tx.name_id(user_id)
        if user is None:
            return set()
        numbers = {number: name for name, number in tx.name_ids(others).items()}
        sharing: set[str] = set()
        for chunk in _chunks(list(numbers)):
            rows = tx.all(
                "SELECT DISTINCT m.user_nid FROM memberships m JOIN memberships mine"
                " ON mine.room = m.room AND mine.user_nid = ? AND mine.membership = ?"
                " WHERE m.user_nid IN (??) AND m.membership = ?",
                (user, _JOIN, chunk, _JOIN),
            )
            sharing.update(numbers[row[0]] for row in rows)
        return sharing


def _joined_before(tx: Transaction, events: dict[int, tuple[str, str]]) -> set[tuple[str, str]]:
    found = set()
    for chunk in _chunks(list(events)):
        for nid, json in tx.all("SELECT nid, json FROM events WHERE nid IN (??)", (chunk,)):
            if orjson.loads(json)["content"].get("membership") == "join":
                found.add(events[nid])
    return found


def _chunks(values: Sequence[int]) -> Iterable[Sequence[int]]:
    return (values[start : start + IN_LIST_LIMIT] for start in range(0, len(values), IN_LIST_LIMIT))
