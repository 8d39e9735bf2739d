"""Wakes long-polls: follows the log, and for each entry finds the waiting requests that it concerns.

Nothing is registered by room: for an entry of a room, the smaller one of its members and those who wait is gone
through. So a waiting request costs nothing, and memberships cannot go stale.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import field

from twisted.python.failure import Failure

from federation.rooms.live_rooms import LOADED_TOGETHER, LiveRooms
from popcube_server.services.platform import Platform
from popcube_server.services.rooms.user_rooms import UserRooms
from storage.change import LogEntry
from storage.database import Waiter, start
from storage.events import StoreEvent
from storage.log import Log
from storage.one_time_keys import ClaimOneTimeKeys
from storage.receipts import PRIVATE
from storage.to_device import pairs
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_WAITING_PER_DEVICE = 5
"""Beyond this, the request that waits longest is answered: a client has no use for more."""
WOKEN_AT_ONCE = 10
"""Then the reactor gets to do something else in between."""

# Entries whose key begins with the room: everybody in it may want to know.
ROOM_KINDS = frozenset(("receipt", "typing"))
# Entries whose key begins with the user whom alone they concern.
USER_KINDS = frozenset(("account_data", "push_rules", "one_time_keys"))
# Entries whose key names devices (`pairs`).
DEVICES_KINDS = frozenset(("to_device", ClaimOneTimeKeys.kind))
# Entries whose key begins with a user of whom everybody hears who shares a room.
SHARED_KINDS = frozenset(("device_list", "presence"))


@dataclass(slots=True, eq=False)
class _Waiting:
    user_id: str
    device_id: str
    waiter: Waiter[None] = field(default_factory=Waiter)
    is_woken: bool = False
    is_displaced: bool = False


class Notifier:
    """Who waits, and what for."""

    def __init__(self, log: Log, rooms: LiveRooms, user_rooms: UserRooms, platform: Platform) -> None:
        self._rooms = rooms
        self._user_rooms = user_rooms
        self._platform = platform
        self._waiting: dict[str, list[_Waiting]] = {}
        self._woken: deque[_Waiting] = deque()
        self._is_released = False
        log.follow(self._follow)

    @property
    def is_released(self) -> bool:
        """Nobody is to wait any more: the server stops."""
        return self._is_released

    def release(self) -> None:
        """Wake everybody, for good."""
        self._is_released = True
        self._wake_users(tuple(self._waiting))

    async def wait(self, user_id: str, device_id: str, timeout_s: float) -> bool:
        """Return when there may be something new for the user, or after the time. To be called without a pause after
        having seen that there is nothing yet.

        False if the request must not wait any longer, as its device has too many others waiting.
        """
        waiting = _Waiting(user_id, device_id)
        others = self._waiting.setdefault(user_id, [])
        others.append(waiting)
        mine = [one for one in others if one.device_id == device_id and not one.is_displaced]
        if len(mine) > MAX_WAITING_PER_DEVICE:
            mine[0].is_displaced = True
            self._wake(mine[:1])
        timer = self._platform.call_later(timeout_s, lambda: self._end(waiting))
        try:
            await waiting.waiter
            return not waiting.is_displaced
        finally:
            # Also when the client went away: then the wait is cancelled.
            waiting.is_woken = True
            self._forget(waiting)
            if timer.active():
                timer.cancel()

    def _end(self, waiting: _Waiting) -> None:
        if not waiting.is_woken:
            waiting.is_woken = True
            waiting.waiter.succeed(None)

    def _forget(self, waiting: _Waiting) -> None:
        others = self._waiting.get(waiting.user_id, [])
        if waiting in others:
            others.remove(waiting)
            if not others:
                del self._waiting[waiting.user_id]

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if not self._waiting:
            return
        concerned: set[str] = set()
        for entry in entries:
            self._add_concerned(entry, concerned)
        self._wake_users(concerned)

    def _add_concerned(self, entry: LogEntry, concerned: set[str]) -> None:
        kind = entry.kind
        if kind == "event":
            change = entry.change
            if isinstance(change, StoreEvent) and change.ordering is not None:
                # History that was found later: it is no news.
                return
            concerned.update(self._waiting_members(entry.key[0]))
            if isinstance(change, StoreEvent):
                concerned.update(one.user_id for one in change.memberships if one.user_id in self._waiting)
        elif kind in ROOM_KINDS:
            if is_private_receipt(entry):
                concerned.add(entry.key[1])
            else:
                concerned.update(self._waiting_members(entry.key[0]))
        elif kind in USER_KINDS:
            concerned.add(entry.key[0])
        elif kind in DEVICES_KINDS:
            concerned.update(user_id for user_id, _ in pairs(entry.key))
        elif kind in SHARED_KINDS:
            concerned.add(entry.key[0])
            self._wake_sharing(entry.key[0])

    def _waiting_members(self, room_id: str) -> Iterable[str]:
        room = self._rooms.find(room_id)
        if room is None:
            return ()
        members = room.committed.memberships
        if len(members) < len(self._waiting):
            return [
                user for user, membership in members.items() if membership == "join" and user in self._waiting
            ]
        return [user for user in self._waiting if members.get(user) == "join"]

    def _wake_sharing(self, user_id: str) -> None:
        rooms = self._user_rooms.find_cached(user_id)
        if rooms is None:
            start(self._load_and_wake_sharing(user_id), _log_failure)
            return
        concerned: set[str] = set()
        missing: list[str] = []
        for room_id, row in rooms.items():
            if row.membership != "join":
                continue
            if self._rooms.find(room_id) is None:
                missing.append(room_id)
            else:
                concerned.update(self._waiting_members(room_id))
        self._wake_users(concerned)
        if missing:
            start(self._load_and_wake(missing), _log_failure)

    async def _load_and_wake(self, room_ids: Sequence[str]) -> None:
        """For rooms that nobody has used since the start, or for long."""
        for at in range(0, len(room_ids), LOADED_TOGETHER):
            if not self._waiting:
                # Nobody is left to be told: the server may be stopping.
                return
            chunk = room_ids[at : at + LOADED_TOGETHER]
            await self._rooms.get_many(chunk)
            for room_id in chunk:
                self._wake_users(self._waiting_members(room_id))

    async def _load_and_wake_sharing(self, user_id: str) -> None:
        await self._user_rooms.of_user(user_id)
        self._wake_sharing(user_id)

    def _wake_users(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            self._wake(self._waiting.get(user_id, ()))

    def _wake(self, several: Sequence[_Waiting]) -> None:
        # Not from within the log: its other followers, and whoever wrote, come first.
        if several and not self._woken:
            self._platform.call_later(0, self._resume)
        self._woken.extend(several)

    def _resume(self) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(self._woken))):
            self._end(self._woken.popleft())
        if self._woken:
            self._platform.call_later(0, self._resume)


def is_private_receipt(entry: LogEntry) -> bool:
    """Whether nobody but the user in the key may hear of it."""
    return entry.kind == "receipt" and entry.key[2] == PRIVATE


def _log_failure(failure: Failure) -> None:
    logger.error("Long-polls could not be woken: %s", failure)
