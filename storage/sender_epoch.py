"""Who sends to other servers: each sender has a number, and only the newest one may write.

Table `federation_sender`.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


class SenderReplaced(Conflict):
    """A newer sender took over: this one may send and write nothing any more."""


@dataclass(frozen=True, slots=True)
class TakeOver(Change):
    """A sender begins. The result is its epoch."""

    kind: ClassVar[str] = "sender"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [
            tx.value("UPDATE federation_sender SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
            for _ in changes
        ]


@dataclass(frozen=True, slots=True)
class HoldDuty(Change):
    """Committed beside what a sender writes. Raises `SenderReplaced` if it is not the newest any more."""

    kind: ClassVar[str] = "sender_duty"
    area: ClassVar[str] = "sending"
    logged: ClassVar[bool] = False

    epoch: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        _check_epoch(tx, (change.epoch for _, change in changes))


def _check_epoch(tx: Transaction, epochs: Iterable[int]) -> None:
    if tx.value("SELECT epoch FROM federation_sender WHERE id = 1") > min(epochs):
        raise SenderReplaced("another sender has taken over")
