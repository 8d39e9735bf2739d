"""Pushers: where users want notifications to be sent."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetPusher(Change):
    """A pusher of a user, in place of the one with the same application and pushkey."""

    kind: ClassVar[str] = "pusher"
    area: ClassVar[str] = "pushers"

    user_id: str
    app_id: str
    pushkey: str
    device_id: str
    content: bytes
    """JSON object as clients see it."""
    only_this_user: bool
    """Whether pushers of other users with the same application and pushkey end."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.app_id, self.pushkey)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return ((self.kind, key) for key in (self.key(), *result))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Gives the keys of other users' pushers that it ended."""
        users = tx.intern(change.user_id for _, change in changes)
        ended: list[object] = []
        # One by one: what one sets, the next may end.
        for position, change in changes:
            user = users[change.user_id]
            app_id, pushkey = change.app_id.encode(), change.pushkey.encode()
            others: list[Row] = []
            if change.only_this_user:
                others = tx.all(
                    "DELETE FROM pushers WHERE app_id = ? AND pushkey = ? AND user_nid <> ? RETURNING user_nid",
                    (app_id, pushkey, user),
                )
            names = tx.names_of(row[0] for row in others)
            ended.append(tuple((name, change.app_id, change.pushkey) for name in names.values()))
            tx.run(
                "INSERT INTO pushers (user_nid, app_id, pushkey, device_id, content, position)"
                " VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (user_nid, app_id, pushkey) DO UPDATE SET device_id = excluded.device_id,"
                " content = excluded.content, position = excluded.position",
                (user, app_id, pushkey, change.device_id, change.content, position),
            )
        return ended


@dataclass(frozen=True, slots=True)
class DeletePusher(Change):
    """A user wants no more notifications there."""

    kind: ClassVar[str] = "pusher"
    area: ClassVar[str] = "pushers"

    user_id: str
    app_id: str
    pushkey: str

    def key(self) -> tuple[str, ...]:
        return (self.user_id, self.app_id, self.pushkey)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        tx.many(
            "DELETE FROM pushers WHERE user_nid = ? AND app_id = ? AND pushkey = ?",
            [
                (users[change.user_id], change.app_id.encode(), change.pushkey.encode())
                for _, change in changes
            ],
        )


@dataclass(frozen=True, slots=True)
class DeletePushersOfDevices(Change):
    """Devices are gone, and with them the pushers that they set."""

    kind: ClassVar[str] = "device_pushers"
    area: ClassVar[str] = "pushers"

    user_id: str
    device_ids: tuple[str, ...]

    def key(self) -> tuple[str, ...]:
        return (self.user_id, *self.device_ids)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return ((SetPusher.kind, key) for key in result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        """Gives the keys of the pushers that were there."""
        users = tx.intern(change.user_id for _, change in changes)
        return [
            tuple(
                (change.user_id, bytes(row[0]).decode(), bytes(row[1]).decode())
                for device_id in change.device_ids
                for row in tx.all(
                    "DELETE FROM pushers WHERE user_nid = ? AND device_id = ? RETURNING app_id, pushkey",
                    (users[change.user_id], device_id),
                )
            )
            for _, change in changes
        ]


class PushersRepository:
    def find(self, tx: Transaction, user_id: str, app_id: str, pushkey: str) -> tuple[str, bytes] | None:
        """The device that set a pusher, and its content."""
        row = tx.one(
            "SELECT device_id, content FROM pushers WHERE user_nid = ? AND app_id = ? AND pushkey = ?",
            (tx.name_id(user_id), app_id.encode(), pushkey.encode()),
        )
        return None if row is None else (row[0], bytes(row[1]))

    def get_of_user(self, tx: Transaction, user_id: str) -> list[bytes]:
        """JSON objects as clients see them, in the order in which they were set."""
        rows = tx.all(
            "SELECT content FROM pushers WHERE user_nid = ? ORDER BY position", (tx.name_id(user_id),)
        )
        return [bytes(row[0]) for row in rows]
