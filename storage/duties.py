"""Duties that one site at a time has: votes, decisions, and how far the work has come."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredVote:
    """A lease that this site has voted for. `log` is the ID of this site's log at that time."""

    log: str
    epoch: int
    holder: str
    term_ms: int


class Decision(NamedTuple):
    """Who has a duty: of two decisions the larger one counts, on every site."""

    epoch: int
    holder: str
    log: str
    """The ID of the holder's log; empty until the holder has taken note of it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything up to `position` of the log of that ID is done."""

    epoch: int
    log: str
    position: int


class DutiesRepository:
    def find_vote(self, tx: Transaction, duty: str) -> StoredVote | None:
        row = tx.one("SELECT log, epoch, holder, term FROM duty_votes WHERE duty = ?", (duty,))
        return None if row is None else StoredVote(*row)

    def find_decision(self, tx: Transaction, duty: str) -> Decision | None:
        row = tx.one("SELECT epoch, holder, log FROM duty_decisions WHERE duty = ?", (duty,))
        return None if row is None else Decision(*row)

    def get_highest_epoch(self, tx: Transaction, duty: str) -> int:
        """Of all that is known here of a duty."""
        voted, decided = self.find_vote(tx, duty), self.find_decision(tx, duty)
        progress = self.find_progress(tx, duty)
        return max(known.epoch for known in (voted, decided, progress, Decision(0, "", "")) if known)

    def find_progress(self, tx: Transaction, duty: str) -> Progress | None:
        row = tx.one("SELECT epoch, log, position FROM duty_progress WHERE duty = ?", (duty,))
        return None if row is None else Progress(*row)


@dataclass(frozen=True, slots=True)
class StoreVote(Change):
    """This site votes for a lease: on disk before the vote is told."""

    kind: ClassVar[str] = "duty_vote"
    area: ClassVar[str] = "duties"
    logged: ClassVar[bool] = False

    duty: str
    vote: StoredVote

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            vote = change.vote
            tx.run(
                "INSERT INTO duty_votes (duty, log, epoch, holder, term) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (duty) DO UPDATE SET log = excluded.log, epoch = excluded.epoch,"
                " holder = excluded.holder, term = excluded.term",
                (change.duty, vote.log, vote.epoch, vote.holder, vote.term_ms),
            )


@dataclass(frozen=True, slots=True)
class StoreDecision(Change):
    """A decision was made or heard of. An older one than is known changes nothing."""

    kind: ClassVar[str] = "duty_decision"
    area: ClassVar[str] = "duties"
    logged: ClassVar[bool] = False

    duty: str
    decision: Decision

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            known = DutiesRepository().find_decision(tx, change.duty)
            if known is None or known < change.decision:
                _write_decision(tx, change.duty, change.decision)


@dataclass(frozen=True, slots=True)
class TakeDutyOver(Change):
    """The operator decides that this site has a duty from now on. The result is the decision."""

    kind: ClassVar[str] = "duty_taken_over"
    area: ClassVar[str] = "duties"
    logged: ClassVar[bool] = False

    duty: str
    site: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        decisions = []
        for _, change in changes:
            epoch = DutiesRepository().get_highest_epoch(tx, change.duty) + 1
            decisions.append(Decision(epoch, change.site, ""))
            _write_decision(tx, change.duty, decisions[-1])
        return decisions


def _write_decision(tx: WriteTransaction, duty: str, decision: Decision) -> None:
    tx.run(
        "INSERT INTO duty_decisions (duty, epoch, holder, log) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (duty) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder, log = excluded.log",
        (duty, decision.epoch, decision.holder, decision.log),
    )


@dataclass(frozen=True, slots=True)
class SaveProgress(Change):
    """The work of a duty has come so far. The result tells whether that is news: not if a later lease is known."""

    kind: ClassVar[str] = "duty.progress"
    area: ClassVar[str] = "duties"

    duty: str
    progress: Progress

    def key(self) -> tuple[str, ...]:
        return (self.duty,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),) if result else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [_save_progress(tx, change.duty, change.progress) for _, change in changes]


def _save_progress(tx: WriteTransaction, duty: str, progress: Progress) -> bool:
    known = DutiesRepository().find_progress(tx, duty)
    if known is not None and not is_later(progress, known):
        return False
    tx.run(
        "INSERT INTO duty_progress (duty, epoch, log, position) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (duty) DO UPDATE SET epoch = excluded.epoch, log = excluded.log,"
        " position = excluded.position",
        (duty, progress.epoch, progress.log, progress.position),
    )
    return True


def is_later(progress: Progress, other: Progress) -> bool:
    """A lease has one holder, so within one the positions are of one log."""
    return (progress.epoch, progress.log, progress.position) > (other.epoch, other.log, other.position)
