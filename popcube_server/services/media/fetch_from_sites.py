"""Brings files of our own media that another site took into this site's store: each once, checked, whole or not at all.

Which site has a file is nowhere written down. They are asked one after the other; what is got of one is gone on with
from the next, for all of them mean the same bytes by a key.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore

from federation.coalescing import Coalescing
from federation.sites.site_client import LINK
from federation.transport.body_pipe import StreamLimits
from federation.transport.errors import FederationError, HttpRefusal
from federation.transport.streaming_client import AnswerStream
from popcube_server.services.media.spool import Spool
from popcube_server.services.platform import Platform
from storage.media_store import MediaFileMissing, MediaStore
from storage.missing_media import MissingFile

logger = logging.getLogger(__name__)

FILES: Final = LINK + "media/"
AWAITED_HEADER: Final = "popcube-awaited"
"""In an answer with a file: whoever uploaded it waits until the asking site has it, and wants to hear of it."""
HEAD_TIMEOUT_S: Final = 10.0
TOTAL_TIMEOUT_S: Final = 3600.0
AT_ONCE: Final = 32
"""More wait for their turn, also where a site without files begins to answer clients."""


class OtherSite(Protocol):
    """A peer, as `federation.sites.site_client.SiteClient` is one. Raises `FederationError`."""

    peer: str

    async def stream(self, path: str, query: Mapping[str, str], limits: StreamLimits) -> AnswerStream: ...

    async def post(self, destination: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...


class NoteFetched(Protocol):
    """Writes down that a file is here."""

    async def __call__(self, file_key: str) -> bool:
        """Whether media still has this file."""


class NoSiteHasIt(Exception):
    """Every site was asked, and none has the file."""


class SitesAway(Exception):
    """A site that may have the file does not answer. `is_alone`: none does."""

    def __init__(self, reason: str, is_alone: bool) -> None:
        super().__init__(reason)
        self.is_alone = is_alone


class FetchFromSites:
    """What was begun is finished even if all who asked have gone."""

    def __init__(
        self,
        platform: Platform,
        store: MediaStore,
        get_sites: Callable[[], Sequence[OtherSite]],
        note: NoteFetched,
    ) -> None:
        self._platform = platform
        self._store = store
        self._get_sites = get_sites
        self._note = note
        self._fetches: Coalescing[str, None] = Coalescing()
        self._running: set[Deferred[None]] = set()
        self._turn = DeferredSemaphore(AT_ONCE)

    def start(self) -> None:
        """Nothing is to be fetched before somebody asks."""

    async def stop(self) -> None:
        """Break off what is under way; nothing of it is kept."""
        for work in tuple(self._running):
            work.cancel()

    async def fetch(self, file: MissingFile) -> None:
        """In the store when this returns. Raises `NoSiteHasIt`, `SitesAway` or `OSError`."""
        await self._fetches.run(file.file_key, lambda: self._begin(file))

    async def _begin(self, file: MissingFile) -> None:
        work = Deferred.fromCoroutine(self._fetch_in_turn(file))
        self._running.add(work)
        try:
            await work
        except CancelledError:
            raise SitesAway("the server stops", True) from None
        finally:
            self._running.discard(work)

    async def _fetch_in_turn(self, file: MissingFile) -> None:
        await self._turn.acquire()
        try:
            await self._fetch(file)
        finally:
            self._turn.release()

    async def _fetch(self, file: MissingFile) -> None:
        if not await self._platform.in_thread(lambda: self._is_here(file)):
            teller = await self._bring(file)
        else:
            teller = None
        if not await self._note(file.file_key):
            # It was deleted meanwhile.
            await self._platform.in_thread(lambda: self._store.delete(file.file_key))
        elif teller is not None:
            await self._tell(teller, file.file_key)

    def _is_here(self, file: MissingFile) -> bool:
        try:
            with self._store.open(file.file_key) as found:
                return found.seek(0, 2) == file.size_bytes
        except MediaFileMissing:
            return False

    async def _bring(self, file: MissingFile) -> OtherSite | None:
        """The site that wants to hear of it, if one does."""
        content = _Content(self._platform, file)
        away: list[str] = []
        sites = self._get_sites()
        if not sites:
            raise SitesAway("there is no other site at present", True)
        try:
            for site in sites:
                try:
                    await content.pull(site)
                except FederationError as error:
                    if not isinstance(error, HttpRefusal) or error.status != 404:
                        away.append(str(error))
                    continue
                if content.is_right:
                    await content.store(self._store)
                    return site if content.is_awaited else None
                logger.error("Site %s has another file under the key %s", site.peer, file.file_key)
                content.begin_again()
        finally:
            content.close()
        if away:
            raise SitesAway("; ".join(away), len(away) == len(sites))
        raise NoSiteHasIt(f"no site has the file {file.file_key}")

    async def _tell(self, site: OtherSite, file_key: str) -> None:
        try:
            await site.post(site.peer, f"{FILES}{file_key}/held", {})
        except FederationError as error:
            # It is answered without this, a little later.
            logger.info("Site %s did not hear that an upload is here too: %s", site.peer, error)


class _Content:
    """What has come of a file so far, from however many sites."""

    def __init__(self, platform: Platform, file: MissingFile) -> None:
        self._platform = platform
        self._file = file
        self.is_awaited = False
        self.begin_again()

    def begin_again(self) -> None:
        self._size_bytes = 0
        self._digest = hashlib.sha256()
        self._spool = Spool(self._platform, self._file.size_bytes)

    @property
    def is_right(self) -> bool:
        return self._size_bytes == self._file.size_bytes and self._digest.digest() == self._file.sha256

    async def pull(self, site: OtherSite) -> None:
        """All that is missing, as far as the site has it. Raises `FederationError`."""
        while self._size_bytes < self._file.size_bytes:
            before = self._size_bytes
            try:
                await self._pull_once(site)
            except FederationError:
                # A long file over a bad line comes in pieces; each try must bring some of it.
                if self._size_bytes == before:
                    raise
            else:
                return

    async def _pull_once(self, site: OtherSite) -> None:
        left = self._file.size_bytes - self._size_bytes
        limits = StreamLimits(HEAD_TIMEOUT_S, left, total_s=TOTAL_TIMEOUT_S)
        query = {"offset": str(self._size_bytes)}
        answer = await site.stream(FILES + self._file.file_key, query, limits)
        self.is_awaited = AWAITED_HEADER in answer.headers
        try:
            while data := await answer.read():
                self._size_bytes += len(data)
                self._digest.update(data)
                await self._spool.write(data)
        finally:
            answer.close()

    async def store(self, store: MediaStore) -> None:
        await self._spool.store(store, self._file.file_key)

    def close(self) -> None:
        self._spool.close()
