"""The committer: the only writer. Whatever is ready goes into one transaction (group commit), then into the log.

While one transaction is on its way to the disk, the submissions that arrive queue up and form the next. Positions are
taken inside the transaction (`write_batch.py`, `log_head.py`) from the log's head row, whose lock makes the order of
commits the order of positions, also when several replicas write.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from storage.change import Change, LogEntry
from storage.database import Database, Transaction, Waiter, WriteTransaction, start
from storage.engines.engine import ConnectionLost, NotNullViolation, StorageError, Unavailable
from storage.log import Log, LogRepository
from storage.log_head import LockedHead, LogHead
from storage.replication.own_records import NoRecords
from storage.write_batch import Arrival, TouchedRecords, WriteBatch, Written
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)


class CommitFailed(Exception):
    """The change is not on disk. Nothing of its submission was written."""


class CommitterBusy(CommitFailed):
    """More is waiting to be written than the database can take in a reasonable time."""


@dataclass(frozen=True, slots=True)
class CommitLimits:
    """How much one transaction takes, and how many submissions may wait for theirs."""

    max_batch: int = 500
    max_waiting: int = 20_000


class Fence:
    """Ties together submissions that build on each other in memory (the events of one room).

    When one of them fails, those behind it must fail too: what they were built on does not exist.
    """

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False


@dataclass(frozen=True, slots=True)
class Committed:
    """Where a submission stands in the log, and what its changes gave back."""

    position: int
    """The last position it took; for a submission without logged changes, the log's position at the commit."""
    results: tuple[object, ...]
    """One per change: what its `write` returned for it, else None."""


class CommitObserver(Protocol):
    """Sees the size and time of each commit (metrics)."""

    def committed(self, changes: int, duration_s: float) -> None: ...

    def failed(self) -> None: ...


class Durability(Protocol):
    """Says when what is on this site's disk may be answered."""

    def when_safe(self, position: int, answer: Callable[[], None]) -> None:
        """Call `answer`, once: now, or when enough sites have this site's log up to `position`."""


class OnThisDisk:
    """At once."""

    def when_safe(self, position: int, answer: Callable[[], None]) -> None:
        answer()


@dataclass(frozen=True, slots=True)
class _Submission:
    changes: tuple[Change, ...]
    fence: Fence | None
    waiter: Waiter[Committed]
    origin: str = ""
    """The peer site that the changes come from; empty: they are made here."""
    arrival: Arrival | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """Submissions that were written together, and what that came to."""

    batch: Sequence[_Submission]
    written: Written


class Commits(Protocol):
    """The committer, as those use it who do not care where changes come from."""

    async def commit(self, *changes: Change, fence: Fence | None = None) -> Committed: ...

    def submit(self, changes: Iterable[Change], fence: Fence | None = None) -> Waiter[Committed]: ...

    def check_not_busy(self) -> None: ...


class PeerCommitter:
    """The committer for what a peer site brings: it is not sent back there, and no answer waits for the peer."""

    def __init__(self, committer: "Committer", site: str) -> None:
        self._committer = committer
        self._site = site

    async def commit(self, *changes: Change, fence: Fence | None = None) -> Committed:
        return await self.submit(changes, fence)

    def submit(self, changes: Iterable[Change], fence: Fence | None = None) -> Waiter[Committed]:
        return self._committer.submit(changes, fence, self._site)

    def check_not_busy(self) -> None:
        self._committer.check_not_busy()


_USUAL_LIMITS: Final = CommitLimits()
_ON_ONE_SITE: Final = NoRecords()
_ON_THIS_DISK: Final = OnThisDisk()


class Committer:
    """Takes submissions and writes them in order."""

    def __init__(
        self,
        database: Database,
        log: Log,
        observer: CommitObserver,
        clock_ms: Callable[[], int],
        timer_s: Callable[[], float],
        limits: CommitLimits = _USUAL_LIMITS,
        records: TouchedRecords = _ON_ONE_SITE,
        durability: Durability = _ON_THIS_DISK,
    ) -> None:
        self._database = database
        self._log = log
        self._observer = observer
        self._timer_s = timer_s
        self._limits = limits
        self._durability = durability
        self._write_batch = WriteBatch(clock_ms, records)
        self._head = LogHead()
        self._queue: deque[_Submission] = deque()
        self._running = False
        self._collecting = 0
        self._idle: list[Waiter[None]] = []

    async def commit(self, *changes: Change, fence: Fence | None = None) -> Committed:
        """Write these changes, all or none; returns once they are on disk and visible to followers.

        Raises `Conflict` if one of them cannot be written over what is there, `CommitFailed` if the database failed
        or the submission depended on one that failed. Without changes it only waits for what was submitted before.
        """
        return await self.submit(changes, fence)

    def submit(
        self, changes: Iterable[Change], fence: Fence | None = None, origin: str = ""
    ) -> Waiter[Committed]:
        """Like `commit`, but queued before this returns: the order of calls is the order of positions.

        `origin` is the peer site that brought the changes (none: they are made here). What has a fence is always
        taken, for others were built on it already: call `check_not_busy` before building.
        """
        waiter: Waiter[Committed] = Waiter()
        if fence is None and self._is_busy():
            waiter.fail(_busy())
            return waiter
        self._enqueue(_Submission(tuple(changes), fence, waiter, origin))
        return waiter

    async def take_in(self, arrival: Arrival) -> Committed:
        """Write what a peer site brings: what that is, is decided in the transaction, after what was submitted before.

        Raises what `decide` raises, and `CommitFailed`; then nothing of it was written.
        """
        return await self.submit_arrival(arrival)

    def submit_arrival(self, arrival: Arrival) -> Waiter[Committed]:
        """Like `take_in`, but queued before this returns."""
        waiter: Waiter[Committed] = Waiter()
        if self._is_busy():
            waiter.fail(_busy())
            return waiter
        self._enqueue(_Submission((), None, waiter, arrival.origin, arrival))
        return waiter

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is submitted within the block goes to the disk with one transaction, unless it is too much for one.

        The block must not wait for anything: nobody's changes are written meanwhile.
        """
        self._collecting += 1
        try:
            yield
        finally:
            self._collecting -= 1
            self._start()

    def _enqueue(self, submission: _Submission) -> None:
        self._queue.append(submission)
        self._start()

    def _start(self) -> None:
        if self._queue and not self._running and not self._collecting:
            self._running = True
            start(self._run(), lambda failure: logger.critical("The committer stopped: %s", failure))

    def check_not_busy(self) -> None:
        """Raises `CommitterBusy`."""
        if self._is_busy():
            raise _busy()

    def _is_busy(self) -> bool:
        return len(self._queue) >= self._limits.max_waiting

    async def drain(self) -> None:
        """Wait until there is nothing left to write. For the end: where others go on writing, that may be never."""
        if self._running:
            waiter: Waiter[None] = Waiter()
            self._idle.append(waiter)
            await waiter

    async def _run(self) -> None:
        while self._queue:
            await self._commit_batch(self._take_batch())
        self._running = False
        idle, self._idle = self._idle, []
        for waiter in idle:
            waiter.succeed(None)

    def _take_batch(self) -> list[_Submission]:
        batch = [self._queue.popleft()]
        size = len(batch[0].changes)
        # How much an arrival is shows only in the transaction: it is the last one.
        while (
            self._queue
            and batch[-1].arrival is None
            and size + len(self._queue[0].changes) <= self._limits.max_batch
        ):
            submission = self._queue.popleft()
            size += len(submission.changes)
            batch.append(submission)
        return batch

    async def _commit_batch(self, batch: list[_Submission]) -> None:
        batch = [submission for submission in batch if not self._fail_if_broken(submission)]
        if not batch:
            return
        started_s = self._timer_s()
        if not any(submission.changes or submission.arrival is not None for submission in batch):
            self._answer(_Done(batch, Written(self._log.position)))
            return
        done: list[_Done] = []
        try:
            await self._write_to_disk(batch, done)
        except Exception as error:  # noqa: BLE001
            # Whatever a change raised belongs to its submitter; the loop goes on.
            await self._after_failure(batch, error)
            return
        self._observer.committed(sum(len(one.written.changes) for one in done), self._timer_s() - started_s)
        self._publish(done)
        for one in done:
            self._answer(one)

    async def _write_to_disk(self, batch: Sequence[_Submission], done: list[_Done]) -> None:
        """`done` is empty until only the commit itself is left to be done."""
        try:
            await self._write_from_head(batch, done)
        except ConnectionLost:
            if done and _first_entry(done) is None:
                # Nothing tells whether it was committed.
                raise
            await self._database.write(lambda tx: self._write_if_absent(tx, batch, done))

    async def _write_from_head(self, batch: Sequence[_Submission], done: list[_Done]) -> None:
        is_foreseen = self._head.is_known
        try:
            await self._database.write(lambda tx: done.extend(self._write(tx, self._head.lock(tx), batch)))
        except NotNullViolation:
            if not is_foreseen:
                raise
            # The log's head was elsewhere: another process writes, too.
            self._head.was_elsewhere()
            done.clear()
            await self._database.write(lambda tx: done.extend(self._write(tx, self._head.lock(tx), batch)))

    def _write_if_absent(self, tx: WriteTransaction, batch: Sequence[_Submission], done: list[_Done]) -> None:
        """What was written must not be written again, nor be called lost."""
        head = self._head.lock(tx)
        # If the database is still at what the lost connection asked for, this waits until it is done.
        head.move(0)
        if not _is_there(tx, done):
            done[:] = self._write(tx, head, batch)

    async def _after_failure(self, batch: list[_Submission], error: Exception) -> None:
        if len(batch) > 1 and not isinstance(error, Unavailable):
            # One bad submission must not fail its neighbours: each again by itself, in the same order.
            for submission in batch:
                await self._commit_batch([submission])
            return
        self._observer.failed()
        for submission in batch:
            if submission.fence is not None:
                submission.fence.broken = True
        if isinstance(error, StorageError):
            logger.error("A commit failed: %s", error)
            failed = CommitFailed(str(error))
            failed.__cause__ = error
            error = failed
        for submission in batch:
            submission.waiter.fail(error)

    def _fail_if_broken(self, submission: _Submission) -> bool:
        if submission.fence is None or not submission.fence.broken:
            return False
        submission.waiter.fail(CommitFailed("an earlier change that this one builds on was not written"))
        return True

    def _write(self, tx: WriteTransaction, head: LockedHead, batch: Sequence[_Submission]) -> list[_Done]:
        """An arrival is the last of its batch, and sees what the others have written."""
        done = []
        ordinary = [submission for submission in batch if submission.arrival is None]
        if ordinary:
            changes = [change for submission in ordinary for change in submission.changes]
            origins = [submission.origin for submission in ordinary for _ in submission.changes]
            done.append(_Done(ordinary, self._write_batch.write_ordinary(tx, head, changes, origins)))
        for submission in batch[len(ordinary) :]:
            assert submission.arrival is not None
            done.append(_Done([submission], self._write_batch.write_arrival(tx, head, submission.arrival)))
        return done

    def _publish(self, done: Sequence[_Done]) -> None:
        entries = [
            LogEntry(position, change.kind, key, change)
            for one in done
            for position, change, key in zip(
                one.written.positions, one.written.changes, one.written.keys, strict=True
            )
            if change.logged
        ]
        if entries:
            self._log.publish(entries)

    def _answer(self, done: _Done) -> None:
        written = done.written
        at = 0
        for submission in done.batch:
            end = len(written.positions) if submission.arrival is not None else at + len(submission.changes)
            logged = max(written.positions[at:end], default=0)
            committed = Committed(logged or written.head, tuple(written.results[at:end]))
            at = end
            if not logged or submission.origin:
                # Bookkeeping is this site's own, and what a peer brought is safe with the peer.
                submission.waiter.succeed(committed)
            else:
                self._durability.when_safe(logged, _answering(submission.waiter, committed))


def _first_entry(done: Sequence[_Done]) -> tuple[int, str, tuple[str, ...]] | None:
    """Position, kind and key of the first entry of the log that was written."""
    return next(
        (
            (position, change.kind, key)
            for one in done
            for position, change, key in zip(
                one.written.positions, one.written.changes, one.written.keys, strict=True
            )
            if change.logged
        ),
        None,
    )


def _is_there(tx: Transaction, done: Sequence[_Done]) -> bool:
    """Whether the log has what was written."""
    first = _first_entry(done)
    if first is None:
        return False
    entries = LogRepository().read_after(tx, first[0] - 1, 1)
    return [(entry.position, entry.kind, entry.key) for entry in entries] == [first]


def _answering(waiter: Waiter[Committed], committed: Committed) -> Callable[[], None]:
    return lambda: waiter.succeed(committed)


def _busy() -> CommitterBusy:
    return CommitterBusy("too many changes are waiting to be written")
