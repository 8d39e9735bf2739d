"""From a media request to the content's record: what downloads and thumbnails begin with."""

import logging
from typing import Protocol

from popcube_server.services.errors import NotFound, WithCode
from popcube_server.services.media.awaited_uploads import AwaitedUploads
from popcube_server.services.media.known_contents import KnownContents
from popcube_server.services.media.media_address import MediaRequest
from popcube_server.services.media.other_sites import OtherSites
from popcube_server.services.platform import Platform
from storage.media import ContentRecord, MediaRow

logger = logging.getLogger(__name__)


class MediaFinder(Protocol):
    """Gives the content of a request that it allows."""

    async def get(self, request: MediaRequest) -> ContentRecord:
        """Raises `NotFound`, or 504 if the content does not come in time; 429 or 502 too for other servers' media."""

    async def forget(self, request: MediaRequest, content: ContentRecord) -> bool:
        """Hear that the store does not have the file. Whether it can be had, by another `get`.

        Raises 504 if it may come, but not now.
        """


class RemoteMedia(Protocol):
    """Media of other servers, brought into our store."""

    async def get(self, request: MediaRequest) -> ContentRecord:
        """Raises `NotFound`, or 404, 429, 502 or 504 as the other server has it."""

    async def forget(self, content: ContentRecord) -> None:
        """Hear that the store has lost the file."""


class FindMedia:
    """The finder for those who are logged in, and for other servers."""

    def __init__(
        self,
        server_name: str,
        platform: Platform,
        known: KnownContents,
        awaited: AwaitedUploads,
        remote: RemoteMedia,
        others: OtherSites,
    ) -> None:
        self._server_name = server_name
        self._platform = platform
        self._known = known
        self._awaited = awaited
        self._remote = remote
        self._others = others

    async def get(self, request: MediaRequest) -> ContentRecord:
        """The content, once it is uploaded. Raises `NotFound`, or 504 if that takes too long."""
        if request.address.server_name != self._server_name:
            return await self._get_remote(request)
        media_id = request.address.media_id
        content = self._known.find(media_id)
        if content is not None:
            return content
        row = await self._find_row(media_id)
        if row is None:
            return await self._wait(media_id, min(request.timeout_ms / 1000, self._others.record_delay_s))
        return row.content or await self._wait(media_id, request.timeout_ms / 1000)

    async def _get_remote(self, request: MediaRequest) -> ContentRecord:
        # allow_remote=false: the server should not attempt to fetch the media if it is deemed remote.
        if not request.allow_remote:
            raise NotFound("That is media of another server.")
        return await self._remote.get(request)

    async def forget(self, request: MediaRequest, content: ContentRecord) -> bool:
        """Other servers' media can be fetched again, and our own if another site has them."""
        is_own = request.address.server_name == self._server_name
        if is_own and await self._others.bring(content):
            return True
        logger.error("The media store has no file %s", content.file_key)
        if not is_own:
            await self._remote.forget(content)
        return not is_own

    async def _find_row(self, media_id: str) -> MediaRow | None:
        row = await self._known.read(media_id)
        return None if row is None or row.is_expired(self._platform.now_ms()) else row

    async def _wait(self, media_id: str, timeout_s: float) -> ContentRecord:
        watch = self._awaited.watch(media_id)
        try:
            row = await self._find_row(media_id)
            if (row is None or row.content is None) and timeout_s > 0:
                await watch.wait(timeout_s)
                row = await self._find_row(media_id)
        finally:
            watch.close()
        if row is None:
            raise NotFound("There is no such media.")
        if row.content is None:
            raise WithCode(504, "M_NOT_YET_UPLOADED", "The content has not been uploaded yet.")
        return row.content


class FindThawedMedia:
    """The finder for anybody: only what was uploaded, or fetched, while downloads needed no login."""

    def __init__(self, find: MediaFinder) -> None:
        self._find = find

    async def get(self, request: MediaRequest) -> ContentRecord:
        content = await self._find.get(request)
        # Any media uploaded after the freeze SHOULD only be accessible through the authenticated endpoints;
        # the old ones MAY return 404 M_NOT_FOUND.
        if content.frozen:
            raise NotFound("This media is not given to those who are not logged in.")
        return content

    async def forget(self, request: MediaRequest, content: ContentRecord) -> bool:
        return await self._find.forget(request, content)
