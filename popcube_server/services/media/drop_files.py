"""Deletes files whose records went because of what another site said."""

from popcube_server.services.media.delete_files import delete_files
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.database import Database
from storage.media_store import MediaStore
from storage.missing_media import ForgetDroppedFiles, MissingMediaRepository

INTERVAL_S = 60.0
BATCH = 100


class DropFiles:
    """Work for a `Periodic`."""

    def __init__(
        self, platform: Platform, database: Database, committer: Committer, store: MediaStore
    ) -> None:
        self._platform = platform
        self._database = database
        self._committer = committer
        self._store = store
        self._missing = MissingMediaRepository()

    async def run(self) -> None:
        while keys := await self._database.read(lambda tx: self._missing.list_dropped(tx, BATCH)):
            await delete_files(self._platform, self._store, keys)
            await self._committer.commit(ForgetDroppedFiles(tuple(keys)))
