"""Deletes media that nobody looked at for as long as `media_retention` says."""

import logging
from collections.abc import Sequence
from typing import cast

from popcube_server.services.media.delete_files import delete_files
from popcube_server.services.media.media_uses import MediaUses
from popcube_server.services.platform import Platform
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.media_store import MediaStore
from storage.media_use import DeleteUnusedMedia as DeleteOwn
from storage.media_use import DeleteUnusedRemoteMedia, MediaUseRepository
from synapse_like_config.media import MediaRetention

logger = logging.getLogger(__name__)

INTERVAL_S = 3600.0
BATCH = 100


class DeleteUnusedMedia:
    """Work for a `Periodic`."""

    def __init__(
        self,
        platform: Platform,
        database: Database,
        committer: Committer,
        store: MediaStore,
        uses: MediaUses,
        retention: MediaRetention,
        use_step_ms: int,
    ) -> None:
        """`use_step_ms`: our own media may have been looked at so much later than is written down."""
        self._platform = platform
        self._database = database
        self._committer = committer
        self._store = store
        self._uses = uses
        self._retention = retention
        self._use_step_ms = use_step_ms
        self._media = MediaUseRepository()

    async def run(self) -> None:
        # What is only in memory so far counts too.
        await self._uses.write()
        now_ms = self._platform.now_ms()
        if self._retention.local_media_lifetime_ms is not None:
            await self._delete_own(now_ms - self._retention.local_media_lifetime_ms - self._use_step_ms)
        if self._retention.remote_media_lifetime_ms is not None:
            await self._delete_remote(now_ms - self._retention.remote_media_lifetime_ms)

    async def _delete_own(self, before_ms: int) -> None:
        while True:
            media_ids = await self._database.read(lambda tx: self._media.list_unused(tx, before_ms, BATCH))
            if not await self._delete([DeleteOwn(media_id, before_ms) for media_id in media_ids]):
                return

    async def _delete_remote(self, before_ms: int) -> None:
        while True:
            found = await self._database.read(lambda tx: self._media.list_unused_remote(tx, before_ms, BATCH))
            if not await self._delete([DeleteUnusedRemoteMedia(media, before_ms) for media in found]):
                return

    async def _delete(self, changes: Sequence[Change]) -> bool:
        """Whether there may be more. Records go before files: a file without a record does no harm."""
        if not changes:
            return False
        committed = await self._committer.commit(*changes)
        keys = [key for result in committed.results for key in cast("list[str]", result)]
        await delete_files(self._platform, self._store, keys)
        logger.info("Deleted %d media that nobody looked at, with %d files", len(changes), len(keys))
        return bool(keys)
