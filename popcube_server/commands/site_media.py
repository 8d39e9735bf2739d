"""The last part of `popcube-server site join`: fetch the files of all media."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, execute

from popcube_server.services.media.fetch_from_sites import FetchFromSites, NoSiteHasIt, OtherSite, SitesAway
from popcube_server.services.platform import Platform
from storage.database import Database, WriteTransaction
from storage.media_files import LocalMediaFiles
from storage.missing_media import HaveMediaFile, MissingFile, MissingMediaRepository, MissMediaFile

AT_ONCE: Final = 8
LATER_MS: Final = 60_000
"""The server tries again what was not to be had."""

Progress = Callable[[int, int], None]
"""Bytes that are here of those that were missing, and how many those were."""


def _at_once(function: Any) -> "Deferred[Any]":
    return execute(function)


class FetchAllMedia:
    """What is here already is not fetched again."""

    def __init__(
        self, database: Database, files: LocalMediaFiles, sites: Sequence[OtherSite], reactor: Any
    ) -> None:
        self._database = database
        self._missing = MissingMediaRepository()
        self._platform = Platform(reactor, os.urandom, _at_once)
        self._fetch = FetchFromSites(self._platform, files, lambda: sites, self._note)
        self._done_bytes = 0

    async def run(self, progress: Progress) -> int:
        """How many files are missing still: sites that have them do not answer, or none has them."""
        whole_bytes = self._database.read_now(self._missing.count).size_bytes
        while due := self._list_due():
            work = [Deferred.fromCoroutine(self._fetch_one(file)) for file in due]
            outcomes: list[tuple[bool, Any]] = await DeferredList(work, consumeErrors=True)
            for succeeded, failure in outcomes:
                if not succeeded:
                    failure.raiseException()
            progress(self._done_bytes, whole_bytes)
        return self._database.read_now(self._missing.count).files

    def _list_due(self) -> list[MissingFile]:
        now_ms = self._platform.now_ms()
        return self._database.read_now(lambda tx: self._missing.list_due(tx, now_ms, AT_ONCE))

    async def _fetch_one(self, file: MissingFile) -> None:
        try:
            await self._fetch.fetch(file)
            self._done_bytes += file.size_bytes
        except (NoSiteHasIt, SitesAway):
            later = MissMediaFile(file.file_key, file.tries + 1, self._platform.now_ms() + LATER_MS)
            self._database.write_now(lambda tx: MissMediaFile.write(tx, [(0, later)]))

    async def _note(self, file_key: str) -> bool:
        def write(tx: WriteTransaction) -> bool:
            return HaveMediaFile.write(tx, [(0, HaveMediaFile(file_key))])[0]

        return self._database.write_now(write)
