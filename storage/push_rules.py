"""Push rules: of each user only what differs from the server-default rules."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.engines.engine import Row
from synapse_like_config.lazy_dataclasses import dataclass

_IGNORED_USERS: Final = "m.ignored_user_list"


@dataclass(frozen=True, slots=True)
class SetPushRules(Change):
    """Raises `Conflict` if the rules changed since those that these were made from."""

    kind: ClassVar[str] = "push_rules"
    area: ClassVar[str] = "push_rules"

    user_id: str
    rules: bytes
    """JSON object."""
    based_on: int
    """Position of the rules that these were made from, 0 if there were none."""

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        newest: dict[int, tuple[bytes, int]] = {}
        for position, change in changes:
            user = users[change.user_id]
            if user in newest:
                present = newest[user][1]
            else:
                present = tx.value("SELECT position FROM push_rules WHERE user_nid = ?", (user,)) or 0
            if present != change.based_on:
                raise Conflict("the push rules have changed meanwhile")
            newest[user] = (change.rules, position)
        _write_rules(tx, newest)


def _write_rules(tx: WriteTransaction, newest: Mapping[int, tuple[bytes, int]]) -> None:
    tx.many(
        "INSERT INTO push_rules (user_nid, rules, position) VALUES (?, ?, ?)"
        " ON CONFLICT (user_nid) DO UPDATE SET rules = excluded.rules, position = excluded.position",
        [(user, *value) for user, value in newest.items()],
    )


@dataclass(frozen=True, slots=True)
class MergePushRules(SetPushRules):
    """A user's rules as another site has them, whatever is here."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        users = tx.intern(change.user_id for _, change in changes)
        _write_rules(tx, {users[change.user_id]: (change.rules, position) for position, change in changes})


@dataclass(frozen=True, slots=True)
class PushRulesRow:
    """What a user's rules have of their own."""

    rules: bytes
    position: int


@dataclass(frozen=True, slots=True)
class MemberRulesRow:
    """All that bears on what an event means to a user: their rules, and whom they ignore. Not both are None."""

    user_id: str
    rules: bytes | None
    ignored_users: bytes | None
    """Content of `m.ignored_user_list`."""


class PushRulesRepository:
    """Reads users' own rules, for one user and for the members of a room."""

    def find(self, tx: Transaction, user_id: str) -> PushRulesRow | None:
        row = tx.one("SELECT rules, position FROM push_rules WHERE user_nid = ?", (tx.name_id(user_id),))
        return None if row is None else PushRulesRow(bytes(row[0]), row[1])

    def get_of_members(self, tx: Transaction, room_id: str) -> list[MemberRulesRow]:
        """Of those joined members of a room who have any."""
        room, ignored = tx.name_id(room_id), tx.name_id(_IGNORED_USERS)
        rules = tx.all(
            "SELECT m.user_nid, p.rules FROM memberships m JOIN push_rules p ON p.user_nid = m.user_nid"
            " WHERE m.room = ? AND m.membership = 1",
            (room,),
        )
        lists = tx.all(
            "SELECT m.user_nid, a.content FROM memberships m JOIN account_data a ON a.user_nid = m.user_nid"
            " WHERE m.room = ? AND m.membership = 1 AND a.room = 0 AND a.type = ?",
            (room, ignored),
        )
        return _rows(tx, rules, lists)

    def get_of_members_among(
        self, tx: Transaction, room_id: str, user_ids: Collection[str]
    ) -> list[MemberRulesRow]:
        """Of those of the users who are joined to a room and have any."""
        users = list(tx.name_ids(user_ids).values())
        room = tx.name_id(room_id)
        members: list[int] = []
        for start in range(0, len(users), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT user_nid FROM memberships WHERE room = ? AND membership = 1 AND user_nid IN (??)",
                (room, users[start : start + IN_LIST_LIMIT]),
            )
            members += (row[0] for row in rows)
        return self._of_nids(tx, members)

    def get_of_users(self, tx: Transaction, user_ids: Collection[str]) -> list[MemberRulesRow]:
        """Of those of the users who have any."""
        return self._of_nids(tx, list(tx.name_ids(user_ids).values()))

    def _of_nids(self, tx: Transaction, users: Sequence[int]) -> list[MemberRulesRow]:
        ignored = tx.name_id(_IGNORED_USERS)
        rules: list[Row] = []
        lists: list[Row] = []
        for start in range(0, len(users), IN_LIST_LIMIT):
            chunk = users[start : start + IN_LIST_LIMIT]
            rules += tx.all("SELECT user_nid, rules FROM push_rules WHERE user_nid IN (??)", (chunk,))
            lists += tx.all(
                "SELECT user_nid, content FROM account_data WHERE user_nid IN (??) AND room = 0 AND type = ?",
                (chunk, ignored),
            )
        return _rows(tx, rules, lists)


def _rows(tx: Transaction, rules: Sequence[Row], lists: Sequence[Row]) -> list[MemberRulesRow]:
    rules_of = {user: bytes(content) for user, content in rules}
    ignored_of = {user: bytes(content) for user, content in lists}
    names = tx.names_of(rules_of.keys() | ignored_of.keys())
    return [MemberRulesRow(name, rules_of.get(user), ignored_of.get(user)) for user, name in names.items()]
