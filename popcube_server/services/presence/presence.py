"""Who is online: what devices do becomes a log entry only when it shows.

Source: client-server API, "Presence".
"""

import heapq
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from federation.room_dag.identifiers import domain_of
from popcube_server.services.errors import InvalidParam, NotAllowed
from popcube_server.services.platform import Platform, Timer
from popcube_server.services.presence.devices_presence import (
    DEVICE_TIMEOUT_MS,
    OFFLINE,
    ONLINE,
    STATES,
    DevicesPresence,
    Shown,
)
from popcube_server.services.requester import Requester
from storage.change import LogEntry
from storage.committer import Committer
from storage.database import Database, start
from storage.events import StoreEvent
from storage.log import Log
from storage.presence import MergePresence, PresenceRepository, PresenceRow, SetPresence

logger = logging.getLogger(__name__)

MAX_STATUS_BYTES: Final = 2_048


class Presence:
    """Owns the presence of the users who are not offline. Does nothing at all if presence is not tracked."""

    def __init__(
        self,
        server_name: str,
        committer: Committer,
        database: Database,
        repository: PresenceRepository,
        log: Log,
        platform: Platform,
        is_tracked: bool,
    ) -> None:
        self._server_name = server_name
        self._committer = committer
        self._database = database
        self._repository = repository
        self._platform = platform
        self._is_tracked = is_tracked
        self._users: dict[str, DevicesPresence] = {}
        # Who is to be looked at next: each user has one entry that counts, in `_due`; others are left over.
        self._queue: list[tuple[int, str]] = []
        self._due: dict[str, int] = {}
        self._timer: Timer | None = None
        self._timer_ms = 0
        if is_tracked:
            log.follow(self._follow)

    def start(self) -> None:
        """Users who were online before a restart get the time to come back."""
        if self._is_tracked:
            self._in_background(self._load())

    async def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def set(self, requester: Requester, user_id: str, state: str, status_msg: str | None) -> None:
        """A user's own word. Raises `NotAllowed` for other users, `InvalidParam`."""
        # "You cannot set the presence state of another user."
        if requester.user_id != user_id:
            raise NotAllowed("You can set only your own presence.")
        if state not in STATES:
            raise InvalidParam(f"'presence' must be one of: {', '.join(STATES)}.")
        if status_msg is not None and len(status_msg.encode()) > MAX_STATUS_BYTES:
            raise InvalidParam(f"'status_msg' may have at most {MAX_STATUS_BYTES} bytes.")
        if not self._is_tracked:
            return
        user = await self._user(user_id)
        now_ms = self._platform.now_ms()
        user.hear(requester.device_id, state, now_ms)
        # "When setting the status, the activity time is updated to reflect that activity."
        user.act(now_ms)
        user.status_msg = status_msg
        await self._show(user_id, user)

    def note_sync(self, user_id: str, device_id: str, set_presence: str = ONLINE) -> None:
        """A device syncs: to be called when a sync begins, and when it goes on after a long wait.

        `set_presence` is the query parameter: `online`, `unavailable`, or `offline` for a sync that says nothing.
        """
        # With offline, "the client is not marked as being online when it uses this API".
        if not self._is_tracked or set_presence == OFFLINE:
            return
        user = self._users.get(user_id)
        if user is None:
            self._in_background(self._arrive(user_id, device_id, set_presence))
            return
        now_ms = self._platform.now_ms()
        if not user.devices:
            # That they are gone is being written. Coming online is something that the user did.
            user.act(now_ms)
        # What only time changes is looked at when its time comes.
        if user.hear(device_id, set_presence, now_ms) and user.now(now_ms) != user.shown:
            self._in_background(self._show(user_id, user))

    def note_active(self, user_id: str, device_id: str) -> None:
        """The user did something that leaves no event: read a message, is typing."""
        user = self._users.get(user_id) if self._is_tracked else None
        # Somebody who syncs without being marked as online stays so.
        if user is None or device_id not in user.devices:
            return
        now_ms = self._platform.now_ms()
        user.act(now_ms)
        user.hear(device_id, ONLINE, now_ms)
        if user.now(now_ms) != user.shown:
            self._in_background(self._show(user_id, user))

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if isinstance(entry.change, MergePresence):
                self._hand_over(entry.change.user_id)
            # Only what a client sent: the server makes events in users' names too.
            if isinstance(entry.change, StoreEvent) and entry.change.sent_by is not None:
                user = self._users.get(entry.change.sender)
                if user is not None:
                    now_ms = self._platform.now_ms()
                    user.act(now_ms)
                    if user.now(now_ms) != user.shown:
                        self._in_background(self._show(entry.change.sender, user))

    def _hand_over(self, user_id: str) -> None:
        """Another site sees the user's devices: that they are silent here means nothing. Who syncs here comes back."""
        self._users.pop(user_id, None)
        self._due.pop(user_id, None)

    def find_last_active_ms(self, user_id: str) -> int | None:
        """When a user who is not offline last did something; None for others."""
        user = self._users.get(user_id)
        return None if user is None else user.last_active_ms

    async def _arrive(self, user_id: str, device_id: str, state: str) -> None:
        user = await self._user(user_id)
        now_ms = self._platform.now_ms()
        user.hear(device_id, state, now_ms)
        # Coming online is something that the user did.
        user.act(now_ms)
        await self._show(user_id, user)

    async def _user(self, user_id: str) -> DevicesPresence:
        user = self._users.get(user_id)
        if user is None:
            row = await self._database.read(lambda tx: self._repository.find(tx, user_id))
            user = self._users.setdefault(user_id, _from_row(row))
        return user

    async def _show(self, user_id: str, user: DevicesPresence) -> None:
        now_ms = self._platform.now_ms()
        shown = user.now(now_ms)
        self._look_again(user_id, user.next_change_ms(now_ms))
        if shown == user.shown:
            return
        user.shown = shown
        await self._committer.commit(
            SetPresence(user_id, shown.state, shown.status_msg, user.last_active_ms, shown.currently_active)
        )

    def _look_again(self, user_id: str, at_ms: int) -> None:
        if self._due.get(user_id) == at_ms:
            return
        self._due[user_id] = at_ms
        heapq.heappush(self._queue, (at_ms, user_id))
        if self._timer is None or not self._timer.active() or at_ms < self._timer_ms:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer_ms = self._queue[0][0]
        delay_ms = max(0, self._timer_ms - self._platform.now_ms())
        self._timer = self._platform.call_later(delay_ms / 1000, self._look)

    def _look(self) -> None:
        now_ms = self._platform.now_ms()
        while self._queue and self._queue[0][0] <= now_ms:
            at_ms, user_id = heapq.heappop(self._queue)
            if self._due.get(user_id) == at_ms:
                del self._due[user_id]
                self._look_at(user_id, now_ms)
        if self._queue:
            self._set_timer()

    def _look_at(self, user_id: str, now_ms: int) -> None:
        user = self._users.get(user_id)
        if user is None:
            # Handed over while this was being told.
            return
        user.drop_silent(now_ms)
        if user.devices:
            self._in_background(self._show(user_id, user))
            return
        self._in_background(self._leave(user_id, user))

    async def _leave(self, user_id: str, user: DevicesPresence) -> None:
        try:
            await self._show(user_id, user)
        finally:
            # Who comes back before it is on disk must not read there that everybody thinks so already.
            if not user.devices and self._users.get(user_id) is user:
                del self._users[user_id]
                self._due.pop(user_id, None)

    async def _load(self) -> None:
        for row in await self._database.read(self._repository.get_not_offline):
            if domain_of(row.user_id) != self._server_name:
                # Other servers say themselves when their users go.
                continue
            user = self._users.setdefault(row.user_id, _from_row(row))
            now_ms = self._platform.now_ms()
            if not user.devices:
                user.hear("", row.state, now_ms)
            self._look_again(row.user_id, now_ms + DEVICE_TIMEOUT_MS)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        start(work, lambda failure: logger.error("Could not tell who is online: %s", failure.value))


def _from_row(row: PresenceRow | None) -> DevicesPresence:
    if row is None:
        return DevicesPresence(None, 0, Shown(OFFLINE, None, False))
    return DevicesPresence(
        row.status_msg, row.last_active_ms, Shown(row.state, row.status_msg, row.currently_active)
    )
