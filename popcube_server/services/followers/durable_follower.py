"""The base of everything that reacts to the log and must not miss an entry, not even over a crash.

A follower says which entries concern it, and handles them in the order of the log, many at a time. Where it stands is
kept in the database and moved only after the work was done, a little later, for all that was done until then: what a
crash cuts off, and what was done just before, is done again at the next start. So the work must be such that doing it
twice is doing it once.

States: idle -> scheduled -> running -> idle, from running also to waiting (for another try) -> running; stopped.
"""

import logging
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol

from twisted.python.failure import Failure

from popcube_server.services.platform import Platform, Timer
from storage.change import LogEntry
from storage.committer import CommitFailed, Committer
from storage.database import Database, Waiter, start
from storage.engines.engine import StorageError
from storage.followers import FollowersRepository, MoveCursor
from storage.log import Log, LogRepository
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

BATCH: Final = 500
"""How many entries of the log are looked at together."""
SAVE_EVERY: Final = 20_000
"""Entries that do not concern a follower move its stored cursor only this often: they are quickly read again."""
SAVE_AFTER_S: Final = 0.5
"""For so long work is collected before the stored cursor moves: a commit for each piece of work costs as much again."""
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0


class LogWork(Protocol):
    """What a follower does."""

    name: str
    """Of its cursor in the database: must never change."""

    def concerns(self, entry: LogEntry) -> bool:
        """Whether there may be something to do. Called for each entry of the log: it must be quick and must not raise.

        `entry.change` is None if the entry was read from the database.
        """

    async def handle(self, entries: Sequence[LogEntry]) -> None:
        """Do what follows from these entries, which all concern it. May be asked again with the same ones.

        If it raises `CommitFailed` or `StorageError`, the same entries come again later. Anything else that it raises
        is logged, and they are passed over: an entry that cannot be handled must not hold up those behind it.
        """


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """What durable followers read and write with."""

    log: Log
    database: Database
    committer: Committer
    platform: Platform
    entries: LogRepository
    cursors: FollowersRepository


class State(Enum):
    NEW = "not started"
    IDLE = "has dealt with everything"
    SCHEDULED = "will run as soon as the reactor is free"
    RUNNING = "at work"
    WAITING = "will try again after a failure"
    STOPPED = "stopped"


class DurableFollower:
    """Runs one `LogWork`: an organisation's part, with `start` and `stop`."""

    def __init__(self, source: FollowedLog, work: LogWork, collect_s: float = 0.0) -> None:
        """`collect_s`: work that is cheaper for many entries together begins at most this often."""
        self._source = source
        self._work = work
        self._collect_s = collect_s
        self._not_before_s = 0.0
        self._state = State.NEW
        self._position: int | None = None
        self._saved = 0
        self._timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._retry_s = FIRST_RETRY_S
        self._at_rest: list[Waiter[None]] = []
        self._stopping = False

    @property
    def position(self) -> int:
        """Everything up to here is dealt with."""
        return 0 if self._position is None else self._position

    def start(self) -> None:
        """Follow the log, and catch up with what happened since the last time.

        The very first time, it begins at the present end of the log.
        """
        self._saved = self._source.log.position
        self._source.log.follow(self._follow)
        self._schedule(State.SCHEDULED, 0)

    async def stop(self) -> None:
        """Finish the batch that is being worked on and remember where that was; the rest waits for the next start."""
        if self._state is State.NEW:
            return
        self._stopping = True
        self._source.log.unfollow(self._follow)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self._state is State.RUNNING:
            await self._rest()
        self._state = State.STOPPED
        if self._save_timer is not None:
            self._save_timer.cancel()
            self._save_timer = None
        if self._position is not None:
            await self._save()

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if self._state is not State.IDLE:
            # Who is at work goes on to the end of the log anyway.
            return
        newest = entries[-1].position
        if newest - self._saved >= SAVE_EVERY or any(self._work.concerns(entry) for entry in entries):
            # Not from within the log: its other followers, and whoever wrote, come first.
            self._schedule(State.SCHEDULED, self._pause_s())
        else:
            self._position = newest

    def _pause_s(self) -> float:
        return max(0.0, self._not_before_s - self._source.platform.elapsed_s()) if self._collect_s else 0.0

    def _schedule(self, state: State, delay_s: float) -> None:
        self._state = state
        self._timer = self._source.platform.call_later(delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._state = State.RUNNING
        start(self._run(), self._failed)

    async def _run(self) -> None:
        if self._collect_s:
            self._not_before_s = self._source.platform.elapsed_s() + self._collect_s
        await self._catch_up()
        self._retry_s = FIRST_RETRY_S
        self._state = State.IDLE
        self._wake_resting()
        if not self._stopping and self.position < self._source.log.position:
            self._schedule(State.SCHEDULED, self._pause_s())

    def _failed(self, failure: Failure) -> None:
        logger.error("%s failed and tries again in %.0f s: %s", self._work.name, self._retry_s, failure.value)
        if self._stopping:
            self._state = State.IDLE
        else:
            self._schedule(State.WAITING, self._retry_s)
        self._retry_s = min(LAST_RETRY_S, self._retry_s * 2)
        self._wake_resting()

    async def _catch_up(self) -> None:
        if self._position is None:
            self._position = await self._load()
        while not self._stopping and self._position < self._source.log.position:
            batch = await self._read(self._position)
            mine = [entry for entry in batch if self._work.concerns(entry)]
            if mine:
                await self._handle(mine)
            self._position = batch[-1].position
            if mine or self._position - self._saved >= SAVE_EVERY:
                self._save_after(SAVE_AFTER_S)
            if mine and self._collect_s and len(batch) < BATCH:
                # What was written meanwhile is collected.
                return

    async def _load(self) -> int:
        name, first = self._work.name, self._saved
        position = await self._source.database.read(lambda tx: self._source.cursors.find_position(tx, name))
        if position is None:
            # Written down at once: a crash from here on is caught up with.
            await self._source.committer.commit(MoveCursor(name, first))
            return first
        self._saved = position
        return position

    async def _read(self, after: int) -> Sequence[LogEntry]:
        entries = self._source.log.since(after)
        if entries is not None:
            return entries[:BATCH]
        return await self._source.database.read(lambda tx: self._source.entries.read_after(tx, after, BATCH))

    async def _handle(self, entries: Sequence[LogEntry]) -> None:
        try:
            await self._work.handle(entries)
        except (CommitFailed, StorageError):
            raise
        except Exception:
            # The loop at the very top: see `LogWork.handle`.
            logger.exception("%s passes over %d entries of the log", self._work.name, len(entries))

    def _save_after(self, delay_s: float) -> None:
        if self._save_timer is None and not self._stopping:
            self._save_timer = self._source.platform.call_later(delay_s, self._save_now)

    def _save_now(self) -> None:
        self._save_timer = None
        start(self._save(), self._save_failed)

    def _save_failed(self, failure: Failure) -> None:
        logger.error("The place of %s in the log was not saved: %s", self._work.name, failure.value)
        self._save_after(FIRST_RETRY_S)

    async def _save(self) -> None:
        position = self.position
        if position > self._saved:
            await self._source.committer.commit(MoveCursor(self._work.name, position))
            self._saved = position

    async def _rest(self) -> None:
        waiter: Waiter[None] = Waiter()
        self._at_rest.append(waiter)
        await waiter

    def _wake_resting(self) -> None:
        resting, self._at_rest = self._at_rest, []
        for waiter in resting:
            waiter.succeed(None)
