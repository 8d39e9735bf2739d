"""Decisions on database threads: a room whose decisions take long waits for others like it, never the others for it."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from storage.database import Database, Transaction, Waiter

T = TypeVar("T")

SLOW_S = 0.1
MAX_SLOW_ROOMS = 1_000


class SlowRooms:
    """Of the rooms whose last decision used much CPU, one decides at a time: the other threads stay free."""

    def __init__(self, database: Database, timer_s: Callable[[], float] = time.thread_time) -> None:
        self._database = database
        self._timer_s = timer_s
        self._slow: OrderedDict[str, float] = OrderedDict()
        self._is_deciding = False
        self._waiting: list[Waiter[None]] = []

    def __len__(self) -> int:
        return len(self._slow)

    async def decide(self, room_id: str, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a reading transaction."""
        if room_id not in self._slow:
            return await self._run(room_id, work)
        while self._is_deciding:
            waiter: Waiter[None] = Waiter()
            self._waiting.append(waiter)
            await waiter
        self._is_deciding = True
        try:
            return await self._run(room_id, work)
        finally:
            self._is_deciding = False
            if self._waiting:
                self._waiting.pop(0).succeed(None)

    async def _run(self, room_id: str, work: Callable[[Transaction], T]) -> T:
        used = [0.0]

        def timed(tx: Transaction) -> T:
            begun_s = self._timer_s()
            try:
                return work(tx)
            finally:
                used[0] = self._timer_s() - begun_s

        try:
            return await self._database.read(timed)
        finally:
            self._note(room_id, used[0])

    def _note(self, room_id: str, used_s: float) -> None:
        if used_s < SLOW_S:
            self._slow.pop(room_id, None)
            return
        self._slow[room_id] = used_s
        self._slow.move_to_end(room_id)
        if len(self._slow) > MAX_SLOW_ROOMS:
            self._slow.popitem(last=False)
