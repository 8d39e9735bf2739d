"""Key backups: versions, and the encrypted session keys that they hold."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import ClassVar, Final, Self

from storage.change import Change, Conflict
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.replication.own_site import find_own_log
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

MAX_VERSIONS = 100
"""Backups that a user may have at a time."""
MAX_KEYS = 1_000_000
"""Session keys in one backup."""

KEY_BACKUP: Final = "key_backup"
"""The record of a version: (user ID, number)."""
BACKUP_SESSION: Final = "key_backup.session"
"""The record of a session's key: (user ID, number, room ID, session ID)."""

SITE_NUMBERS: Final = 1 << 20
"""Versions that sites make apart have different numbers: each site's next one is so far off as its log's ID says."""

_LIVE = "deleted = 0"
_KEY_COLUMNS = "room, session, first_message_index, forwarded_count, is_verified, session_data"


class NoSuchBackup(Conflict):
    """The user never had this version, or deleted it."""


class NotCurrentBackup(Conflict):
    """Only the newest version may be written."""

    def __init__(self, current: int) -> None:
        super().__init__("not the current backup version")
        self.current = current


class OtherAlgorithm(Conflict):
    """The backup's algorithm cannot be changed."""


class BackupFull(Conflict):
    """The user has too many versions, or the version too many keys."""


@dataclass(frozen=True, slots=True)
class BackupState:
    """What every change of a backup's keys gives back."""

    etag: int
    count: int
    touched: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """Room and session of each key that changed."""


@dataclass(frozen=True, slots=True)
class BackupRow:
    version: int
    algorithm: str
    auth_data: bytes
    etag: int
    count: int


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A session's encrypted key, with what tells which of two is better."""

    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: bytes
    """JSON object."""

    def is_better_than(self, other: "SessionKey") -> bool:
        # "if the keys have different values for `is_verified`, then it will keep the key that has `is_verified` set
        # to `true`; if they have the same values for `is_verified`, then it will keep the key with a lower
        # `first_message_index`; and finally, [...] the key with a lower `forwarded_count`."
        return self._rank() < other._rank()

    def _rank(self) -> tuple[bool, int, int]:
        return (not self.is_verified, self.first_message_index, self.forwarded_count)


@dataclass(frozen=True, slots=True)
class RoomSessionKey:
    room_id: str
    session_id: str
    key: SessionKey


@dataclass(frozen=True, slots=True)
class CreateBackup(Change):
    """A new version, which becomes the current one. The result is its number; raises `BackupFull`."""

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"

    user_id: str
    algorithm: str
    auth_data: bytes

    def key(self) -> tuple[str, ...]:
        return (self.user_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((KEY_BACKUP, (self.user_id, str(result))),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[int]:
        versions = []
        for position, change in changes:
            user = tx.intern_one(change.user_id)
            newest, live = tx.all(
                "SELECT COALESCE(MAX(version), 0), COALESCE(SUM(1 - deleted), 0) FROM key_backups WHERE user_nid = ?",
                (user,),
            )[0]
            if live >= MAX_VERSIONS:
                raise BackupFull("there are too many backups")
            version = newest + 1 + zlib.crc32(find_own_log(tx).encode()) % SITE_NUMBERS
            tx.run(
                "INSERT INTO key_backups (user_nid, version, algorithm, auth_data, etag, key_count, deleted, position)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (user, version, change.algorithm.encode(), change.auth_data, 0, 0, 0, position),
            )
            versions.append(version)
        return versions


@dataclass(frozen=True, slots=True)
class SetBackupAuthData(Change):
    """Raises `NoSuchBackup` or `OtherAlgorithm`."""

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"

    user_id: str
    version: int
    algorithm: str
    auth_data: bytes

    def key(self) -> tuple[str, ...]:
        return (self.user_id, str(self.version))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((KEY_BACKUP, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            user = tx.intern_one(change.user_id)
            algorithm = tx.value(
                f"SELECT algorithm FROM key_backups WHERE user_nid = ? AND version = ? AND {_LIVE}",  # noqa: S608
                (user, change.version),
            )
            if algorithm is None:
                raise NoSuchBackup("there is no such backup")
            if algorithm != change.algorithm.encode():
                raise OtherAlgorithm("the backup has another algorithm")
            tx.run(
                "UPDATE key_backups SET auth_data = ?, position = ? WHERE user_nid = ? AND version = ?",
                (change.auth_data, position, user, change.version),
            )


@dataclass(frozen=True, slots=True)
class DeleteBackup(Change):
    """A version goes with all its keys; gone already is well. Raises `NoSuchBackup` if it never was."""

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"

    user_id: str
    version: int

    def key(self) -> tuple[str, ...]:
        return (self.user_id, str(self.version))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((KEY_BACKUP, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            at = (tx.intern_one(change.user_id), change.version)
            if not tx.all("SELECT 1 FROM key_backups WHERE user_nid = ? AND version = ?", at):
                raise NoSuchBackup("there is no such backup")
            _delete(tx, position, change.user_id, change.version)


def _delete(tx: WriteTransaction, position: int, user_id: str, version: int) -> None:
    at = (tx.intern_one(user_id), version)
    tx.run("DELETE FROM key_backup_sessions WHERE user_nid = ? AND version = ?", at)
    tx.run(
        "UPDATE key_backups SET deleted = 1, auth_data = ?, key_count = 0, position = ?"
        " WHERE user_nid = ? AND version = ?",
        (b"{}", position, *at),
    )
    # That the version is gone says it all.
    RecordIndex().forget_below(tx, BACKUP_SESSION, (user_id, str(version)))


@dataclass(frozen=True, slots=True)
class MergeBackup(Change):
    """A version as another site has it."""

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"

    user_id: str
    version: int
    algorithm: str
    auth_data: bytes
    is_deleted: bool

    def key(self) -> tuple[str, ...]:
        return (self.user_id, str(self.version))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            user = tx.intern_one(change.user_id)
            # Some of its keys may have come before it.
            count = tx.value(
                "SELECT COUNT(*) FROM key_backup_sessions WHERE user_nid = ? AND version = ?",
                (user, change.version),
            )
            tx.run(
                "INSERT INTO key_backups (user_nid, version, algorithm, auth_data, etag, key_count, deleted, position)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, version) DO UPDATE SET"
                " auth_data = excluded.auth_data, position = excluded.position",
                (user, change.version, change.algorithm.encode(), change.auth_data, 0, count, 0, position),
            )
            if change.is_deleted:
                _delete(tx, position, change.user_id, change.version)


@dataclass(frozen=True, slots=True)
class StoreSessionKeys(Change):
    """Keys for the current version, each kept if it is better than what is there. The result is a `BackupState`.

    Raises `NoSuchBackup`, `NotCurrentBackup` or `BackupFull`.
    """

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"
    is_remembered: ClassVar[bool] = False

    user_id: str
    version: int
    keys: tuple[RoomSessionKey, ...]

    def key(self) -> tuple[str, ...]:
        return (self.user_id, str(self.version))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return _session_records(self.key(), result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[BackupState]:
        return [_store(tx, position, change) for position, change in changes]


def _store(tx: WriteTransaction, position: int, change: StoreSessionKeys) -> BackupState:
    user = tx.intern_one(change.user_id)
    _check_current(tx, user, change.version)
    best: dict[tuple[bytes, bytes], SessionKey] = {}
    for one in change.keys:
        best[(one.room_id.encode(), one.session_id.encode())] = one.key
    old = _existing(tx, user, change.version, list(best))
    stored = {at: key for at, key in best.items() if at not in old or key.is_better_than(old[at])}
    _write_sessions(tx, user, change.version, stored)
    state = _changed(tx, position, user, change.version, len(stored), len(stored.keys() - old.keys()))
    if state.count > MAX_KEYS:
        raise BackupFull("the backup has too many keys")
    return replace(state, touched=tuple((room.decode(), session.decode()) for room, session in stored))


def _session_records(of: tuple[str, ...], result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
    assert isinstance(result, BackupState)
    return tuple((BACKUP_SESSION, (*of, *at)) for at in result.touched)


def _write_sessions(
    tx: WriteTransaction, user: int, version: int, stored: Mapping[tuple[bytes, bytes], SessionKey]
) -> None:
    tx.many(
        "INSERT INTO key_backup_sessions (user_nid, version, room, session, first_message_index, forwarded_count,"
        " is_verified, session_data) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_nid, version, room, session)"
        " DO UPDATE SET first_message_index = excluded.first_message_index,"
        " forwarded_count = excluded.forwarded_count, is_verified = excluded.is_verified,"
        " session_data = excluded.session_data",
        [
            (
                user,
                version,
                *at,
                key.first_message_index,
                key.forwarded_count,
                int(key.is_verified),
                key.session_data,
            )
            for at, key in stored.items()
        ],
    )


def _existing(
    tx: Transaction, user: int, version: int, wanted: Sequence[tuple[bytes, bytes]]
) -> dict[tuple[bytes, bytes], SessionKey]:
    names, found = set(wanted), {}
    sessions = list({session for _, session in wanted})
    rooms = list({room for room, _ in wanted})
    for room in rooms:
        in_room = [session for session in sessions if (room, session) in names]
        for start in range(0, len(in_room), IN_LIST_LIMIT):
            rows = tx.all(
                "SELECT session, first_message_index, forwarded_count, is_verified, session_data"
                " FROM key_backup_sessions WHERE user_nid = ? AND version = ? AND room = ? AND session IN (??)",
                (user, version, room, in_room[start : start + IN_LIST_LIMIT]),
            )
            for session, index, count, verified, data in rows:
                found[(room, session)] = SessionKey(index, count, bool(verified), data)
    return found


@dataclass(frozen=True, slots=True)
class DeleteSessionKeys(Change):
    """Keys of a version go: all of them, a room's, or one. The result is a `BackupState`; raises `NoSuchBackup`."""

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"

    user_id: str
    version: int
    room_id: str | None = None
    session_id: str | None = None

    def key(self) -> tuple[str, ...]:
        return (self.user_id, str(self.version))

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return _session_records(self.key(), result)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[BackupState]:
        states = []
        for position, change in changes:
            user = tx.intern_one(change.user_id)
            if _find_backup(tx, user, change.version) is None:
                raise NoSuchBackup("there is no such backup")
            where, parameters = _session_filter(user, change.version, change.room_id, change.session_id)
            gone = tx.all(
                f"DELETE FROM key_backup_sessions WHERE {where} RETURNING room, session",  # noqa: S608
                parameters,
            )
            state = _changed(tx, position, user, change.version, len(gone), -len(gone))
            touched = tuple((room.decode(), session.decode()) for room, session in gone)
            states.append(replace(state, touched=touched))
        return states


@dataclass(frozen=True, slots=True)
class MergeSessionKey(Change):
    """A session's key as another site has it, or that it is gone there."""

    kind: ClassVar[str] = "key_backup"
    area: ClassVar[str] = "key_backup"
    is_remembered: ClassVar[bool] = False

    user_id: str
    version: int
    room_id: str
    session_id: str
    session_key: SessionKey | None

    def key(self) -> tuple[str, ...]:
        return (self.user_id, str(self.version))

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        by_version: dict[tuple[int, int], list[tuple[int, Self]]] = {}
        for position, change in changes:
            at = (tx.intern_one(change.user_id), change.version)
            by_version.setdefault(at, []).append((position, change))
        for (user, version), of in by_version.items():
            newest = {(one.room_id.encode(), one.session_id.encode()): one.session_key for _, one in of}
            old = _existing(tx, user, version, list(newest))
            stored = {at: key for at, key in newest.items() if key is not None}
            gone = [at for at, key in newest.items() if key is None and at in old]
            tx.many(
                "DELETE FROM key_backup_sessions WHERE user_nid = ? AND version = ? AND room = ? AND session = ?",
                [(user, version, *at) for at in gone],
            )
            _write_sessions(tx, user, version, stored)
            tx.run(
                "UPDATE key_backups SET etag = etag + 1, key_count = key_count + ?, position = ?"
                " WHERE user_nid = ? AND version = ?",
                (len(stored.keys() - old.keys()) - len(gone), of[-1][0], user, version),
            )


def _session_filter(
    user: int, version: int, room_id: str | None, session_id: str | None
) -> tuple[str, tuple[object, ...]]:
    where, parameters = "user_nid = ? AND version = ?", [user, version]
    values: list[object] = [*parameters]
    if room_id is not None:
        where += " AND room = ?"
        values.append(room_id.encode())
    if session_id is not None:
        where += " AND session = ?"
        values.append(session_id.encode())
    return where, tuple(values)


def _check_current(tx: Transaction, user: int, version: int) -> None:
    current = tx.value(f"SELECT MAX(version) FROM key_backups WHERE user_nid = ? AND {_LIVE}", (user,))  # noqa: S608
    if current is None:
        raise NoSuchBackup("there is no backup")
    # "Keys can only be written to the most recently created version of the backup."
    if current != version:
        raise NotCurrentBackup(current)


def _changed(
    tx: WriteTransaction, position: int, user: int, version: int, touched: int, added: int
) -> BackupState:
    etag, count = tx.all(
        "UPDATE key_backups SET etag = etag + ?, key_count = key_count + ?, position = ?"
        " WHERE user_nid = ? AND version = ? RETURNING etag, key_count",
        (1 if touched else 0, added, position, user, version),
    )[0]
    return BackupState(etag, count)


def _find_backup(tx: Transaction, user: int, version: int | None) -> BackupRow | None:
    sql = f"SELECT version, algorithm, auth_data, etag, key_count FROM key_backups WHERE user_nid = ? AND {_LIVE}"  # noqa: S608
    if version is None:
        row = tx.one(sql + " ORDER BY version DESC LIMIT 1", (user,))
    else:
        row = tx.one(sql + " AND version = ?", (user, version))
    return None if row is None else BackupRow(row[0], row[1].decode(), row[2], row[3], row[4])


class KeyBackupRepository:
    def find_backup(self, tx: Transaction, user_id: str, version: int | None) -> BackupRow | None:
        """A version that is not deleted; for None the newest of them."""
        user = tx.name_id(user_id)
        return None if user is None else _find_backup(tx, user, version)

    def find_version(self, tx: Transaction, user_id: str, version: int) -> tuple[BackupRow, bool] | None:
        """A version, and whether it was deleted."""
        row = tx.one(
            "SELECT version, algorithm, auth_data, etag, key_count, deleted FROM key_backups"
            " WHERE user_nid = ? AND version = ?",
            (tx.name_id(user_id), version),
        )
        if row is None:
            return None
        return BackupRow(row[0], row[1].decode(), row[2], row[3], row[4]), bool(row[5])

    def get_keys(
        self,
        tx: Transaction,
        user_id: str,
        version: int,
        room_id: str | None = None,
        session_id: str | None = None,
    ) -> Mapping[str, Mapping[str, SessionKey]]:
        """Session keys by room and session: all of the version, of a room, or one."""
        user = tx.name_id(user_id)
        if user is None:
            return {}
        where, parameters = _session_filter(user, version, room_id, session_id)
        rows = tx.all(
            f"SELECT {_KEY_COLUMNS} FROM key_backup_sessions WHERE {where}",  # noqa: S608
            parameters,
        )
        return _by_room(
            (room.decode(), session.decode(), SessionKey(index, count, bool(verified), data))
            for room, session, index, count, verified, data in rows
        )


def _by_room(keys: Iterable[tuple[str, str, SessionKey]]) -> dict[str, dict[str, SessionKey]]:
    rooms: dict[str, dict[str, SessionKey]] = {}
    for room_id, session_id, key in keys:
        rooms.setdefault(room_id, {})[session_id] = key
    return rooms
