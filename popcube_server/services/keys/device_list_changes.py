"""Whose keys a user's clients must fetch anew, and whom they can forget: `device_lists` of /sync, and /keys/changes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from storage.change import LogEntry
from storage.database import Database, Transaction
from storage.device_lists import Attendance, DeviceListsRepository
from storage.events import StoreEvent
from storage.log import Log
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChangedLists:
    """User IDs."""

    changed: frozenset[str]
    left: frozenset[str]


NOTHING = ChangedLists(frozenset(), frozenset())


class DeviceListChanges:
    """Compares two positions for a user.

    Costs nothing while nobody's keys or memberships change. Otherwise it reads what changed after the first position,
    keys and memberships alike, and asks which of these users share a room: never the members of rooms in which
    nothing happened. Rooms count whether they are encrypted or not: a room may become encrypted later, and a client
    ignores users that it does not track.
    """

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._repository = DeviceListsRepository()
        # What happened before the start is known only to the database.
        self._newest = log.position
        log.follow(self._follow)

    async def between(self, user_id: str, since: int, upto: int) -> ChangedLists:
        """What changed after `since`. It may tell of changes after `upto` too, which are then told twice."""
        if since >= self._newest or since >= upto:
            return NOTHING
        return await self._database.read(lambda tx: _compare(tx, self._repository, user_id, since))

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.kind == "device_list" or (entry.kind == "event" and _moves_members(entry)):
                self._newest = entry.position


def _moves_members(entry: LogEntry) -> bool:
    # An event written by another process may have.
    return not isinstance(entry.change, StoreEvent) or bool(entry.change.memberships)


def _compare(tx: Transaction, repository: DeviceListsRepository, user_id: str, since: int) -> ChangedLists:
    changed_users = repository.get_changed_users(tx, user_id, since)
    rooms = _Rooms(tx, repository, user_id, since)
    changed = rooms.find_newcomers()
    candidates = rooms.find_departed() - changed
    others = changed_users.for_everybody - {user_id}
    sharing = repository.find_sharing(tx, user_id, candidates | others)
    # "users who have updated their device identity or cross-signing keys, or who now share an encrypted room with the
    # client since the previous sync response": a user shares everything with themselves.
    changed |= (others & sharing) | changed_users.for_viewer | (changed_users.for_everybody & {user_id})
    # "users with whom we do not share any encrypted rooms anymore"
    return ChangedLists(frozenset(changed), frozenset(candidates - sharing - {user_id}))


class _Rooms:
    """The rooms in which the user's company changed after a position."""

    def __init__(self, tx: Transaction, repository: DeviceListsRepository, user_id: str, since: int) -> None:
        self._tx = tx
        self._repository = repository
        self._user_id = user_id
        self._since = since
        mine = repository.get_attendances_of(tx, user_id)
        joined_before = repository.find_joined_at(tx, mine, since)
        was_in = {room_id for room_id, _ in joined_before}
        is_in = {one.room_id for one in mine if one.is_joined}
        self._entered = is_in - was_in
        self._exited = was_in - is_in
        self._stayed = is_in & was_in
        self._moved = self._others_moved(self._stayed | self._exited)
        self._joined_before = repository.find_joined_at(
            tx, [one for moved in self._moved.values() for one in moved], since
        )

    def _others_moved(self, room_ids: Iterable[str]) -> dict[str, list[Attendance]]:
        """Memberships of others in these rooms that changed after the position."""
        wanted = frozenset(room_ids)
        moved: dict[str, list[Attendance]] = defaultdict(list)
        for one in self._repository.get_attendances_changed_after(self._tx, self._since) if wanted else ():
            if one.room_id in wanted and one.user_id != self._user_id:
                moved[one.room_id].append(one)
        return moved

    def find_newcomers(self) -> set[str]:
        """Users in a room with the user now, but not before."""
        found = self._repository.get_joined_members(self._tx, self._entered)
        for room_id in self._stayed:
            found.update(
                one.user_id
                for one in self._moved.get(room_id, ())
                if one.is_joined and (room_id, one.user_id) not in self._joined_before
            )
        return found - {self._user_id}

    def find_departed(self) -> set[str]:
        """Users in a room with the user before, but not now."""
        # Only those who were there before the user went: a former member is not told who came later.
        unmoved = self._repository.get_attendances_in(self._tx, self._exited, self._since)
        found = {one.user_id for one in unmoved}
        for room_id in self._stayed | self._exited:
            found.update(
                one.user_id
                for one in self._moved.get(room_id, ())
                if (room_id, one.user_id) in self._joined_before
                and (room_id in self._exited or not one.is_joined)
            )
        return found - {self._user_id}
