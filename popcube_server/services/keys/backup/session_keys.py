"""The encrypted session keys in a backup: store, read, delete."""

from collections.abc import Mapping

from popcube_server.services.errors import InvalidParam, NotFound, TooLarge, WithCode
from popcube_server.services.keys.backup.versions import parse_version, unknown_version
from storage.committer import Committer
from storage.database import Database
from storage.key_backup import (
    BackupFull,
    BackupState,
    DeleteSessionKeys,
    KeyBackupRepository,
    NoSuchBackup,
    NotCurrentBackup,
    RoomSessionKey,
    SessionKey,
    StoreSessionKeys,
)
from synapse_like_config.lazy_dataclasses import dataclass

# With these the endpoints speak of keys.
__all__ = ["BackupSessionKeys", "BackupSlice", "BackupState", "RoomSessionKey", "SessionKey"]

MAX_KEYS_PER_REQUEST = 20_000


@dataclass(frozen=True, slots=True)
class BackupSlice:
    """Which keys of a version are meant: all, a room's, or one."""

    version: str
    room_id: str | None = None
    session_id: str | None = None


class BackupSessionKeys:
    """The endpoints below /room_keys/keys. All raise `NotFound` if the version is not there."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer
        self._repository = KeyBackupRepository()

    async def store(self, user_id: str, version: str, keys: tuple[RoomSessionKey, ...]) -> BackupState:
        """Each key is kept if it is better than the one that is there. Raises M_WRONG_ROOM_KEYS_VERSION."""
        if len(keys) > MAX_KEYS_PER_REQUEST:
            raise TooLarge(f"Store at most {MAX_KEYS_PER_REQUEST} keys at a time.")
        try:
            committed = await self._committer.commit(StoreSessionKeys(user_id, parse_version(version), keys))
        except NoSuchBackup as error:
            raise unknown_version() from error
        except NotCurrentBackup as error:
            # "The version specified does not match the current backup version. The current version will be included
            # in the `current_version` field."
            raise WithCode(
                403, "M_WRONG_ROOM_KEYS_VERSION", "Wrong backup version.", current_version=str(error.current)
            ) from error
        except BackupFull as error:
            raise InvalidParam("The backup has too many keys.") from error
        return _state(committed.results[0])

    async def get(self, user_id: str, wanted: BackupSlice) -> Mapping[str, Mapping[str, SessionKey]]:
        """By room and session; empty if there are none."""
        number = parse_version(wanted.version)
        backup, keys = await self._database.read(
            lambda tx: (
                self._repository.find_backup(tx, user_id, number),
                self._repository.get_keys(tx, user_id, number, wanted.room_id, wanted.session_id),
            )
        )
        if backup is None:
            raise unknown_version()
        return keys

    async def get_one(self, user_id: str, version: str, room_id: str, session_id: str) -> SessionKey:
        """Raises `NotFound` for a key that is not there, too."""
        keys = await self.get(user_id, BackupSlice(version, room_id, session_id))
        key = keys.get(room_id, {}).get(session_id)
        if key is None:
            raise NotFound("Key not found.")
        return key

    async def delete(self, user_id: str, wanted: BackupSlice) -> BackupState:
        change = DeleteSessionKeys(user_id, parse_version(wanted.version), wanted.room_id, wanted.session_id)
        try:
            committed = await self._committer.commit(change)
        except NoSuchBackup as error:
            raise unknown_version() from error
        return _state(committed.results[0])


def _state(result: object) -> BackupState:
    assert isinstance(result, BackupState)
    return result
