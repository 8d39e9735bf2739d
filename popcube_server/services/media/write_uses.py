"""Writes down which media were looked at: for this site, or for all of them."""

from collections.abc import Sequence
from typing import Protocol

from storage.committer import Committer
from storage.database import Database
from storage.media_store import REMOTE_PREFIX
from storage.media_use import MediaUseRepository, NoteMediaUse, TellMediaUse

BATCH = 500


class WriteUses(Protocol):
    async def write(self, uses: Sequence[tuple[str, int]]) -> None:
        """(file key, when it was looked at)."""


class NoteUses:
    """Here."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def write(self, uses: Sequence[tuple[str, int]]) -> None:
        for at in range(0, len(uses), BATCH):
            await self._committer.commit(*(NoteMediaUse(*use) for use in uses[at : at + BATCH]))


class TellUses:
    """On all sites, of our own media; for each of them seldom, since each time is told to everybody."""

    def __init__(self, database: Database, committer: Committer, step_ms: int) -> None:
        """`step_ms` is how much later than the last that was written a use must be."""
        self._database = database
        self._committer = committer
        self._step_ms = step_ms
        self._note = NoteUses(committer)
        self._repository = MediaUseRepository()

    async def write(self, uses: Sequence[tuple[str, int]]) -> None:
        await self._note.write([use for use in uses if use[0].startswith(REMOTE_PREFIX)])
        own = [use for use in uses if not use[0].startswith(REMOTE_PREFIX)]
        for at in range(0, len(own), BATCH):
            await self._tell(own[at : at + BATCH])

    async def _tell(self, uses: Sequence[tuple[str, int]]) -> None:
        keys = [file_key for file_key, _ in uses]
        written = await self._database.read(lambda tx: self._repository.get_uses(tx, keys))
        news = [
            TellMediaUse(file_key, used_ms)
            for file_key, used_ms in uses
            if file_key in written and used_ms >= written[file_key] + self._step_ms
        ]
        if news:
            await self._committer.commit(*news)
