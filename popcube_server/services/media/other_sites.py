"""Files of our own media that are not in this site's store: asked of the other sites, for who waits for one."""

from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred

from popcube_server.services.errors import WithCode
from popcube_server.services.media.fetch_from_sites import FetchFromSites, NoSiteHasIt, SitesAway
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.media import ContentRecord
from storage.missing_media import MissingFile, MissMediaFile

PATIENCE_S: Final = 20.0
"""How long a request waits for a file. It goes on coming when this is over."""
RECORD_DELAY_S: Final = 1.0
"""Media IDs that nobody knows may be known in a moment: the record of an upload is as quick as the link."""


class OtherSites(Protocol):
    """Where else our own media may be."""

    record_delay_s: float
    """How long an unknown media ID may be one that another site has just given out."""

    async def bring(self, content: ContentRecord) -> bool:
        """Have a file come that is not in the store. Whether it is there now.

        Raises 504 if it may still come.
        """


class NoOtherSites:
    """An organisation on one site."""

    record_delay_s = 0.0

    async def bring(self, content: ContentRecord) -> bool:
        return False


class BringFromSites:
    """An organisation on several."""

    record_delay_s = RECORD_DELAY_S

    def __init__(self, platform: Platform, committer: Committer, fetch: FetchFromSites) -> None:
        self._platform = platform
        self._committer = committer
        self._fetch = fetch

    async def bring(self, content: ContentRecord) -> bool:
        file = MissingFile(content.file_key, content.size_bytes, content.sha256, 0)
        try:
            await self._fetch_in_time(file)
        except NoSiteHasIt:
            return False
        except SitesAway:
            # The copying in the background hears of it, also if nobody knew that the file was lost.
            await self._committer.commit(MissMediaFile(content.file_key, 0, self._platform.now_ms()))
            raise _not_yet() from None
        return True

    async def _fetch_in_time(self, file: MissingFile) -> None:
        work = Deferred.fromCoroutine(self._fetch.fetch(file))
        timer = self._platform.call_later(PATIENCE_S, work.cancel)
        try:
            await work
        except CancelledError:
            raise _not_yet() from None
        finally:
            if timer.active():
                timer.cancel()


def _not_yet() -> WithCode:
    # "The content is not yet available": clients try again.
    return WithCode(504, "M_NOT_YET_UPLOADED", "The content is at another site, and has not come here yet.")
