"""Key backups: versions have numbers that no other site gives, their data is last writer, and deletion is for good.

Of two keys of a session the better one stays, by the specification's rule. Against a deletion the later one stands.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.database import Transaction
from storage.key_backup import (
    BACKUP_SESSION,
    KEY_BACKUP,
    KeyBackupRepository,
    MergeBackup,
    MergeSessionKey,
    SessionKey,
)
from storage.replication.record import Combined, Key, Record, Taken, Version


class BackupKind:
    """A version."""

    name: Final = KEY_BACKUP
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: KeyBackupRepository().find_version(tx, key[0], int(key[1])) for key in keys}
        return {
            key: {
                "algorithm": each[0].algorithm,
                "auth_data": bytes(each[0].auth_data).decode(),
                "deleted": each[1],
            }
            for key, each in found.items()
            if each is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None:
            return None
        user_id, version = record.key[0], int(record.key[1])
        ours = KeyBackupRepository().find_version(tx, user_id, version)
        is_deleted = value["deleted"] is True
        if ours is not None and (
            ours[1] or (not is_deleted and present is not None and present >= record.version)
        ):
            return None
        merged = MergeBackup(user_id, version, value["algorithm"], value["auth_data"].encode(), is_deleted)
        return Taken((merged,))


class BackupSessionKind:
    """A session's key in a version."""

    name: Final = BACKUP_SESSION
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: _find(tx, key) for key in keys}
        return {key: _value(each) for key, each in found.items() if each is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        user_id, number, room_id, session_id = record.key
        version = KeyBackupRepository().find_version(tx, user_id, int(number))
        if version is not None and version[1]:
            return None
        ours, theirs = _find(tx, record.key), _parse(record.value)
        is_newer = present is None or present < record.version
        change = MergeSessionKey(user_id, int(number), room_id, session_id, theirs)
        if ours is not None and theirs is not None:
            if theirs.is_better_than(ours):
                return Taken((change,)) if is_newer else Combined((change,))
            if ours.is_better_than(theirs):
                # Newer and worse: this one is told again, so that it stands against deletions in between.
                return Combined(()) if is_newer else None
        return Taken((change,)) if is_newer else None


def _find(tx: Transaction, key: Key) -> SessionKey | None:
    user_id, number, room_id, session_id = key
    rooms = KeyBackupRepository().get_keys(tx, user_id, int(number), room_id, session_id)
    return rooms.get(room_id, {}).get(session_id)


def _value(key: SessionKey) -> Mapping[str, Any]:
    return {
        "first_message_index": key.first_message_index,
        "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified,
        "session_data": bytes(key.session_data).decode(),
    }


def _parse(value: Any) -> SessionKey | None:
    if value is None:
        return None
    return SessionKey(
        value["first_message_index"],
        value["forwarded_count"],
        value["is_verified"] is True,
        value["session_data"].encode(),
    )


KEY_BACKUPS: Final = (BackupKind(), BackupSessionKind())
