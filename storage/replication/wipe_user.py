"""Forget what a user had here whose name belongs to somebody else: see `storage.replication.kinds.accounts`."""

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import orjson

from storage.change import Change
from storage.database import WriteTransaction
from storage.to_device import wipe as wipe_to_device
from synapse_like_config.lazy_dataclasses import dataclass

BY_ID: Final = ("sessions", "devices", "profiles")
"""Tables of what belongs to a user, with a column `user_id`."""
BY_NUMBER: Final = (
    "account_data",
    "push_rules",
    "pushers",
    "filters",
    "device_keys",
    "one_time_keys",
    "peer_one_time_keys",
    "claimed_keys",
    "fallback_keys",
    "cross_signing_keys",
    "key_signatures",
    "key_backups",
    "key_backup_sessions",
    "receipts",
)
"""The same with `user_nid`."""


@dataclass(frozen=True, slots=True)
class WipeUser(Change):
    """Everything that belongs to the account and to nobody else. What is in rooms is not the account's."""

    kind: ClassVar[str] = "account_wiped"
    area: ClassVar[str] = "accounts"
    is_barrier: ClassVar[bool] = True

    user_id: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            # Their versions go too: what is not there must not be told to others as deleted.
            prefix = orjson.dumps((change.user_id,))[:-1]
            tx.run("DELETE FROM records WHERE record_key >= ? AND record_key < ?", (prefix, prefix + b"\xff"))
            for table in BY_ID:
                tx.run(f"DELETE FROM {table} WHERE user_id = ?", (change.user_id,))  # noqa: S608
            for table in BY_NUMBER:
                tx.run(f"DELETE FROM {table} WHERE user_nid = ?", (tx.name_id(change.user_id),))  # noqa: S608
            wipe_to_device(tx, change.user_id)
            tx.run("DELETE FROM key_signatures WHERE signer_nid = ?", (tx.name_id(change.user_id),))
