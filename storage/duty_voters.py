"""Who votes on a duty, as far as this site knows: what was settled, and what was asked for since."""

from collections.abc import Sequence
from typing import ClassVar, Self

import orjson

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredVoters:
    """A set of voters and the number of the lease that was won (`is_settled`) or asked for under it."""

    voters: tuple[str, ...]
    epoch: int
    is_settled: bool


class DutyVotersRepository:
    def get(self, tx: Transaction, duty: str) -> Sequence[StoredVoters]:
        """Empty if nothing was ever noted; else one of them is settled."""
        rows = tx.all("SELECT voters, epoch, is_settled FROM duty_voters WHERE duty = ?", (duty,))
        return [
            StoredVoters(tuple(orjson.loads(voters)), epoch, bool(settled)) for voters, epoch, settled in rows
        ]


@dataclass(frozen=True, slots=True)
class StoreVoters(Change):
    """All that is known of who votes on a duty."""

    kind: ClassVar[str] = "duty_voters"
    area: ClassVar[str] = "duties"
    logged: ClassVar[bool] = False

    duty: str
    sets: tuple[StoredVoters, ...]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run("DELETE FROM duty_voters WHERE duty = ?", (change.duty,))
            tx.many(
                "INSERT INTO duty_voters (duty, voters, epoch, is_settled) VALUES (?, ?, ?, ?)",
                [
                    (change.duty, orjson.dumps(each.voters).decode(), each.epoch, int(each.is_settled))
                    for each in change.sets
                ],
            )
