"""Rooms that another site may have made or joined a moment ago: other servers hear of them as quickly as this site.

Who was invited through one site is led to another one when he joins; and whoever joined through one may send the next
event to another. Such a room is waited for a little, and then as unknown as any.
"""

from collections.abc import Collection, Sequence
from typing import Final

from twisted.internet.defer import Deferred

from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms
from popcube_server.services.platform import Platform
from storage.change import LogEntry
from storage.log import Log

REST_S: Final = 0.1


class ExpectedRooms:
    def __init__(
        self, server_name: str, rooms: LiveRooms, log: Log, platform: Platform, patience_s: float
    ) -> None:
        """`patience_s` 0: there are no other sites."""
        self._server_name = server_name
        self._rooms = rooms
        self._log = log
        self._platform = platform
        self._patience_s = patience_s

    async def get(self, room_id: str) -> LiveRoom:
        """The room; use it without waiting in between. Raises `UnknownRoom`."""
        await self.wait((room_id,))
        return await self._rooms.get(room_id)

    async def wait(self, room_ids: Collection[str]) -> None:
        """Until users of this server are in all of them, but never long."""
        if not self._patience_s:
            return
        missing = {room_id for room_id in room_ids if not self._is_in(room_id)}
        if not missing:
            return
        arrived: Deferred[None] = Deferred()

        def end() -> None:
            if not arrived.called:
                arrived.callback(None)

        timers = [self._platform.call_later(self._patience_s, end)]

        def look(_: Sequence[LogEntry]) -> None:
            if all(self._is_in(room_id) for room_id in missing):
                # A new room's first events come in a row: its join rules last.
                timers.append(self._platform.call_later(REST_S, end))

        self._log.follow(look)
        try:
            # From the database; then they are in memory.
            await self._rooms.get_many(missing)
            if not all(self._is_in(room_id) for room_id in missing):
                await arrived
        finally:
            self._log.unfollow(look)
            for timer in timers:
                if timer.active():
                    timer.cancel()

    def _is_in(self, room_id: str) -> bool:
        """Also false for a room that is not in memory."""
        room = self._rooms.find(room_id)
        return room is not None and room.committed.has_member_of(self._server_name)
