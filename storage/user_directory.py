"""The index that people are searched in: derived from accounts, profiles and rooms, so nothing of it is in the log."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexUser(Change):
    """What a user is found by, instead of what it was before."""

    kind: ClassVar[str] = "directory_user"
    area: ClassVar[str] = "user_directory"
    logged: ClassVar[bool] = False

    user_id: str
    words: frozenset[str]
    """None of them: the user cannot be found."""
    is_locked: bool

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        newest = {change.user_id: change for _, change in changes}
        nids = tx.intern(newest)
        gone = list(nids.values())
        for start in range(0, len(gone), IN_LIST_LIMIT):
            chunk = gone[start : start + IN_LIST_LIMIT]
            tx.run("DELETE FROM directory_words WHERE user_nid IN (??)", (chunk,))
            tx.run("DELETE FROM directory_users WHERE user_nid IN (??)", (chunk,))
        tx.later(
            "INSERT INTO directory_users (user_nid, is_locked) VALUES (?, ?)",
            [(nids[user_id], int(change.is_locked)) for user_id, change in newest.items() if change.words],
        )
        tx.later(
            "INSERT INTO directory_words (word, user_nid) VALUES (?, ?)",
            [
                (word.encode(), nids[user_id])
                for user_id, change in newest.items()
                for word in sorted(change.words)
            ],
        )


@dataclass(frozen=True, slots=True)
class SetOpenRoom(Change):
    """Whether everybody may find those who are in a room."""

    kind: ClassVar[str] = "directory_room"
    area: ClassVar[str] = "user_directory"
    logged: ClassVar[bool] = False

    room_id: str
    is_open: bool

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        newest = {change.room_id: change.is_open for _, change in changes}
        rooms = tx.intern(newest)
        tx.many(
            "DELETE FROM directory_open_rooms WHERE room = ?",
            [(rooms[room_id],) for room_id, is_open in newest.items() if not is_open],
        )
        tx.many(
            "INSERT INTO directory_open_rooms (room) VALUES (?) ON CONFLICT (room) DO NOTHING",
            [(rooms[room_id],) for room_id, is_open in newest.items() if is_open],
        )


@dataclass(frozen=True, slots=True)
class DirectorySearch:
    """Who is looked for."""

    searcher: str
    words: Sequence[str]
    """Each must begin one of the user's words; at least one."""
    limit: int
    with_locked: bool


@dataclass(frozen=True, slots=True)
class FoundUser:
    user_id: str
    display_name: bytes | None
    """JSON."""
    avatar_url: bytes | None
    """JSON."""


_MATCHES = (
    "SELECT w.user_nid, MIN(w.word) AS first FROM directory_words w"
    " JOIN directory_users u ON u.user_nid = w.user_nid"
    " WHERE w.word >= ? AND w.word < ? AND u.is_locked <= ? AND w.user_nid <> ?"
)
_AND_WORD = " AND EXISTS (SELECT 1 FROM directory_words x WHERE x.user_nid = w.user_nid AND x.word >= ? AND x.word < ?)"
# The shortest completion of the first word comes first: a whole word before its longer relatives.
_ORDER = " GROUP BY w.user_nid ORDER BY first, w.user_nid LIMIT ?"


_IS_VISIBLE = (
    " AND (EXISTS (SELECT 1 FROM directory_open_rooms o WHERE o.room = m.room)"
    " OR EXISTS (SELECT 1 FROM memberships s WHERE s.room = m.room AND s.user_nid = ? AND s.membership = 1))"
)
_JOINED = "SELECT 1 FROM memberships m WHERE m.user_nid = w.user_nid AND m.membership = 1"
_AND_VISIBLE = f" AND EXISTS ({_JOINED}{_IS_VISIBLE})"
_MEMBER_EVENTS = (
    "SELECT e.json FROM memberships m JOIN events e ON e.nid = m.event"
    " WHERE m.user_nid = ? AND m.membership = 1 AND e.redacted_by IS NULL"
)
MAX_NAMES = 20
"""Rooms that a name is looked for in, of a user whose profile another server has."""


class UserDirectoryRepository:
    def search_visible(self, tx: Transaction, search: DirectorySearch) -> list[FoundUser]:
        """Those who share a room with the searcher or are in a room that is open to everybody."""
        searcher = tx.name_id(search.searcher)
        sql, parameters = _matches(search, searcher)
        rows = tx.all(sql + _AND_VISIBLE + _ORDER, (*parameters, searcher, search.limit))
        return _found(tx, [row[0] for row in rows])

    def search_all(self, tx: Transaction, search: DirectorySearch) -> list[FoundUser]:
        """Everybody whom this server knows."""
        sql, parameters = _matches(search, tx.name_id(search.searcher))
        rows = tx.all(sql + _ORDER, (*parameters, search.limit))
        return _found(tx, [row[0] for row in rows])

    def get_member_events(self, tx: Transaction, user_ids: Sequence[str]) -> dict[str, list[bytes]]:
        """Of joined users, the JSON of their newest m.room.member events: `MAX_NAMES` of each."""
        sql = _MEMBER_EVENTS + " ORDER BY m.position DESC LIMIT ?"
        return {
            user_id: [bytes(row[0]) for row in tx.all(sql, (tx.name_id(user_id), MAX_NAMES))]
            for user_id in user_ids
        }

    def get_visible_member_events(
        self, tx: Transaction, searcher: str, user_ids: Sequence[str]
    ) -> dict[str, list[bytes]]:
        """As `get_member_events`, of rooms by which the searcher can know of them."""
        sql = _MEMBER_EVENTS + _IS_VISIBLE + " ORDER BY m.position DESC LIMIT ?"
        return {
            user_id: [
                bytes(row[0]) for row in tx.all(sql, (tx.name_id(user_id), tx.name_id(searcher), MAX_NAMES))
            ]
            for user_id in user_ids
        }

    def get_joined(self, tx: Transaction, room_ids: Sequence[str]) -> list[str]:
        """Users who are in one of the rooms."""
        nids: set[int] = set()
        for room_id in room_ids:
            rows = tx.all(
                "SELECT user_nid FROM memberships WHERE room = ? AND membership = 1", (tx.name_id(room_id),)
            )
            nids.update(row[0] for row in rows)
        return list(tx.names_of(nids).values())


def _matches(search: DirectorySearch, searcher: int | None) -> tuple[str, list[Any]]:
    first, *others = search.words
    # Names have positive numbers: without one, nobody is left out.
    parameters: list[Any] = [*_prefix(first), int(search.with_locked), -1 if searcher is None else searcher]
    for word in others:
        parameters += _prefix(word)
    return _MATCHES + _AND_WORD * len(others), parameters


def _prefix(word: str) -> tuple[bytes, bytes]:
    start = word.encode()
    # No byte of UTF-8 is as high.
    return start, start + b"\xff"


def _found(tx: Transaction, nids: Sequence[int]) -> list[FoundUser]:
    names = tx.names_of(nids)
    user_ids = [names[nid] for nid in nids]
    rows = tx.all(
        "SELECT user_id, field, value FROM profiles WHERE user_id IN (??)"
        " AND field IN ('displayname', 'avatar_url')",
        (user_ids,),
    )
    profiles = {(user_id, field): bytes(value) for user_id, field, value in rows}
    return [
        FoundUser(user_id, profiles.get((user_id, "displayname")), profiles.get((user_id, "avatar_url")))
        for user_id in user_ids
    ]
