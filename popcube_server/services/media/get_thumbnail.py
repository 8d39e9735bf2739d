"""Gives a thumbnail of a picture: one that was made before, or a new one."""

from popcube_server.services.errors import NotFound, TooLarge, WithCode
from popcube_server.services.media.download_media import OpenedMedia, open_file
from popcube_server.services.media.find_media import MediaFinder
from popcube_server.services.media.make_thumbnail import MakeThumbnail
from popcube_server.services.media.media_address import MediaRequest
from popcube_server.services.media.media_uses import MediaUses
from popcube_server.services.media.thumbnail_sizes import ThumbnailSizes, WantedThumbnail
from popcube_server.services.platform import Platform
from storage.database import Database
from storage.media import ContentRecord, MediaRepository
from storage.media_store import REMOTE_PREFIX, MediaStore


class GetThumbnail:
    def __init__(
        self,
        platform: Platform,
        database: Database,
        media: MediaRepository,
        store: MediaStore,
        find: MediaFinder,
        sizes: ThumbnailSizes,
        make: MakeThumbnail,
        uses: MediaUses,
    ) -> None:
        self._platform = platform
        self._database = database
        self._media = media
        self._store = store
        self._find = find
        self._sizes = sizes
        self._make = make
        self._uses = uses

    async def open(self, request: MediaRequest, wanted: WantedThumbnail) -> OpenedMedia:
        """Raises what the finder raises, `TooLarge` (502 if the picture is another server's), or 400 for no picture."""
        content = await self._find.get(request)
        try:
            opened = await self._open(content, wanted)
        except NotFound:
            if not await self._find.forget(request, content):
                raise
            content = await self._find.get(request)
            opened = await self._open(content, wanted)
        except TooLarge as error:
            if not content.file_key.startswith(REMOTE_PREFIX):
                raise
            # "The remote content is too large for the server to thumbnail."
            raise WithCode(502, "M_TOO_LARGE", error.message) from None
        self._uses.note(content.file_key)
        return opened

    async def _open(self, content: ContentRecord, wanted: WantedThumbnail) -> OpenedMedia:
        rows = await self._database.read(lambda tx: self._media.list_thumbnails(tx, content.file_key))
        made = {row.key: row for row in rows}
        key = self._sizes.choose(wanted, list(made))
        row = made.get(key) or await self._make.make(content, key)
        file = await open_file(self._platform, self._store, row.file_key)
        return OpenedMedia(file, row.size_bytes, row.content_type, None)
