"""Versions of a user's key backup: create, read, change, delete."""

from popcube_server.services.errors import InvalidParam, NotFound
from storage.committer import Committer
from storage.database import Database
from storage.key_backup import (
    BackupFull,
    BackupRow,
    CreateBackup,
    DeleteBackup,
    KeyBackupRepository,
    NoSuchBackup,
    OtherAlgorithm,
    SetBackupAuthData,
)
from synapse_like_config.lazy_dataclasses import dataclass

# With these the endpoints speak of versions.
__all__ = ["BackupDefinition", "BackupRow", "BackupVersions", "parse_version", "unknown_version"]

MAX_VERSION = 2**53 - 1


@dataclass(frozen=True, slots=True)
class BackupDefinition:
    """How a backup's keys are encrypted."""

    algorithm: str
    auth_data: bytes
    """JSON object."""


class BackupVersions:
    """The endpoints below /room_keys/version. All raise `NotFound` for a version that is not there."""

    def __init__(self, database: Database, committer: Committer) -> None:
        self._database = database
        self._committer = committer
        self._repository = KeyBackupRepository()

    async def create(self, user_id: str, definition: BackupDefinition) -> str:
        """The new version, which is the current one from now on."""
        try:
            committed = await self._committer.commit(
                CreateBackup(user_id, definition.algorithm, definition.auth_data)
            )
        except BackupFull as error:
            raise InvalidParam("There are too many backups: delete one that is not needed.") from error
        return str(committed.results[0])

    async def get_current(self, user_id: str) -> BackupRow:
        row = await self._database.read(lambda tx: self._repository.find_backup(tx, user_id, None))
        if row is None:
            raise NotFound("No current backup version.")
        return row

    async def get(self, user_id: str, version: str) -> BackupRow:
        number = parse_version(version)
        row = await self._database.read(lambda tx: self._repository.find_backup(tx, user_id, number))
        if row is None:
            raise unknown_version()
        return row

    async def update(self, user_id: str, version: str, definition: BackupDefinition) -> None:
        change = SetBackupAuthData(
            user_id, parse_version(version), definition.algorithm, definition.auth_data
        )
        try:
            await self._committer.commit(change)
        except NoSuchBackup as error:
            raise unknown_version() from error
        except OtherAlgorithm as error:
            # "Must be the same as the algorithm currently used by the backup."
            raise InvalidParam("Algorithm does not match.") from error

    async def delete(self, user_id: str, version: str) -> None:
        """Deleting again succeeds."""
        try:
            await self._committer.commit(DeleteBackup(user_id, parse_version(version)))
        except NoSuchBackup as error:
            raise unknown_version() from error


def unknown_version() -> NotFound:
    return NotFound("Unknown backup version.")


def parse_version(version: str) -> int:
    """Versions are numbers; anything else is a version that never was."""
    if not version.isascii() or not version.isdigit() or len(version) > 16 or int(version) > MAX_VERSION:
        raise unknown_version()
    return int(version)
