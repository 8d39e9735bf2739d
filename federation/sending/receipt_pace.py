"""Receipts of a large room are gathered: each would be a transaction to each of its servers otherwise."""

from collections.abc import Callable, Collection
from dataclasses import field
from typing import Final

from federation.sending.destination_queue import Clock, Timer
from synapse_like_config.lazy_dataclasses import dataclass

MAX_ROOMS: Final = 1_000
"""That are held back; receipts of others go at once."""


@dataclass(slots=True)
class _Room:
    due_s: float
    waiting: set[str] = field(default_factory=set)
    timer: Timer | None = None


class ReceiptPace:
    """Lets the receipts of a room make so many transactions in a second, to all servers together."""

    def __init__(self, clock: Clock, per_second: float, send_now: Callable[[Collection[str]], None]) -> None:
        self._clock = clock
        self._per_second = per_second
        self._send_now = send_now
        self._rooms: dict[str, _Room] = {}

    def may_go(self, room_id: str, destinations: Collection[str]) -> bool:
        """Whether a receipt is to be sent now. If not, `send_now` is called when it is."""
        if not destinations:
            return True
        room = self._rooms.get(room_id)
        now_s = self._clock.seconds()
        if room is None or (room.timer is None and room.due_s <= now_s):
            self._rooms.pop(room_id, None)
            if len(self._rooms) >= MAX_ROOMS:
                self._drop_past(now_s)
            if len(self._rooms) < MAX_ROOMS:
                self._rooms[room_id] = _Room(now_s + len(destinations) / self._per_second)
            return True
        room.waiting.update(destinations)
        if room.timer is None:
            room.timer = self._clock.callLater(room.due_s - now_s, self._release, room_id)
        return False

    def stop(self) -> None:
        for room in self._rooms.values():
            if room.timer is not None and room.timer.active():
                room.timer.cancel()

    def _release(self, room_id: str) -> None:
        room = self._rooms[room_id]
        waiting = room.waiting
        self._rooms[room_id] = _Room(self._clock.seconds() + len(waiting) / self._per_second)
        self._send_now(waiting)

    def _drop_past(self, now_s: float) -> None:
        for room_id, room in tuple(self._rooms.items()):
            if room.timer is None and room.due_s <= now_s:
                del self._rooms[room_id]
