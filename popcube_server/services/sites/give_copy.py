"""A copy of everything for a site that begins: made once, and read in pieces for as long as that takes."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred

from popcube_server.services.errors import NotFound, WithCode
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.copying import CopyHeader, WriteCopy
from storage.database import Database
from storage.site_links import ShareLog, SiteLinksRepository
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_PIECE_BYTES: Final = 8 * 1024 * 1024
LOCAL_TABLES: Final = frozenset(
    (
        "site_log",
        # What the new site's configuration names are other sites.
        "site_keys",
        "inbound_pdus",
        "destinations",
        # The files of these are not part of a copy.
        "remote_media",
        "thumbnails",
        "missing_media",
        "dropped_media_files",
    )
)
"""What only this site's own work is about."""


@dataclass(frozen=True, slots=True)
class CopyState:
    """How far a copy is. `log` and what follows are known once it is ready."""

    copy_id: str
    site: str
    rows: int = 0
    rows_done: int = 0
    is_ready: bool = False
    error: str | None = None
    new_log: str = ""
    position: int = 0
    size_bytes: int = 0
    sha256: str = ""


class GiveCopy:
    """One copy at a time: a later request of the same site for a new one takes the place of its earlier one."""

    def __init__(
        self,
        own_log: str,
        directory: Path,
        writer: WriteCopy,
        database: Database,
        committer: Committer,
        platform: Platform,
    ) -> None:
        self._own_log = own_log
        self._directory = directory
        self._writer = writer
        self._database = database
        self._committer = committer
        self._platform = platform
        self._links = SiteLinksRepository()
        self._state: CopyState | None = None
        self._work: Deferred[None] | None = None

    async def begin(self, site: str) -> Mapping[str, Any]:
        """Start a copy for a site; or tell of the one that is under way or ready for it."""
        state = self._state
        if state is not None and state.error is None:
            if state.site != site:
                raise WithCode(409, "M_UNKNOWN", f"A copy is being made for site {state.site}.")
            return _json(state)
        self._state = CopyState(self._platform.random_letters(16), site)
        self._work = Deferred.fromCoroutine(self._write(self._state))
        return _json(self._state)

    def status(self, site: str, copy_id: str) -> Mapping[str, Any]:
        """Raises `NotFound`."""
        return _json(self._get(site, copy_id))

    async def read(self, site: str, copy_id: str, offset: int, length: int) -> bytes:
        """A piece of the file; empty at its end. Raises `NotFound`."""
        state = self._get(site, copy_id)
        if not state.is_ready:
            raise NotFound("The copy is not ready.")
        path = self._path(state)
        return await self._platform.in_thread(lambda: _read_piece(path, offset, min(length, MAX_PIECE_BYTES)))

    async def finish(self, site: str, copy_id: str) -> None:
        """The site has it: the file goes. Raises `NotFound`."""
        state = self._get(site, copy_id)
        self._state = None
        path = self._path(state)
        await self._platform.in_thread(lambda: path.unlink(missing_ok=True))

    def _get(self, site: str, copy_id: str) -> CopyState:
        state = self._state
        if state is None or state.site != site or state.copy_id != copy_id:
            raise NotFound("There is no such copy.")
        return state

    def _path(self, state: CopyState) -> Path:
        return self._directory / f"{state.copy_id}.copy"

    async def _write(self, state: CopyState) -> None:
        path = self._path(state)
        try:
            header = await self._platform.in_thread(lambda: self._write_file(path))
            new_log = await self._new_log(state.site)
            size_bytes, sha256 = await self._platform.in_thread(lambda: _measure(path))
            # From here on this site knows where the new log begins.
            await self._committer.commit(ShareLog(new_log, header.position))
        except Exception as error:
            logger.exception("The copy for site %s failed", state.site)
            self._state = replace(state, error=f"{type(error).__name__}: {error}")
            return
        self._state = replace(
            state,
            rows=header.rows,
            rows_done=header.rows,
            is_ready=True,
            new_log=new_log,
            position=header.position,
            size_bytes=size_bytes,
            sha256=sha256,
        )

    def _write_file(self, path: Path) -> CopyHeader:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in self._directory.glob("*.copy"):
            old.unlink()
        return self._writer.write(path, self._note_progress)

    def _note_progress(self, done: int, rows: int) -> None:
        # On the writing thread; one reference is replaced by another.
        if self._state is not None:
            self._state = replace(self._state, rows=rows, rows_done=done)

    async def _new_log(self, site: str) -> str:
        """A log ID that no log of the site ever had."""

        def find(names: "SiteLinksRepository", tx: Any) -> str:
            candidate, number = site, 1
            while candidate == self._own_log or names.is_known(tx, candidate):
                number += 1
                candidate = f"{site}-{number}"
            return candidate

        return await self._database.read(lambda tx: find(self._links, tx))


def _json(state: CopyState) -> Mapping[str, Any]:
    return {
        "copy_id": state.copy_id,
        "rows": state.rows,
        "rows_done": state.rows_done,
        "ready": state.is_ready,
        "error": state.error,
        "new_log": state.new_log,
        "position": state.position,
        "size_bytes": state.size_bytes,
        "sha256": state.sha256,
    }


def _read_piece(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest
