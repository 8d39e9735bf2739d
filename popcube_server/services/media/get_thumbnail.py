"""Gives a thumbnail of a picture: one that was made before, or a new one."""

from popcube_server.services.media.download_media import OpenedMedia, open_file
from popcube_server.services.media.find_media import MediaFinder
from popcube_server.services.media.make_thumbnail import MakeThumbnail
from popcube_server.services.media.media_address import MediaRequest
from popcube_server.services.media.thumbnail_sizes import ThumbnailSizes, WantedThumbnail
from popcube_server.services.platform import Platform
from storage.database import Database
from storage.media import MediaRepository
from storage.media_store import MediaStore


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
    ) -> None:
        self._platform = platform
        self._database = database
        self._media = media
        self._store = store
        self._find = find
        self._sizes = sizes
        self._make = make

    async def open(self, request: MediaRequest, wanted: WantedThumbnail) -> OpenedMedia:
        """Raises what the finder raises, `TooLarge`, or 400 for what is no picture."""
        content = await self._find.get(request)
        media_id = request.address.media_id
        rows = await self._database.read(lambda tx: self._media.list_thumbnails(tx, media_id))
        made = {row.key: row for row in rows}
        key = self._sizes.choose(wanted, list(made))
        row = made.get(key) or await self._make.make(media_id, content, key)
        file = await open_file(self._platform, self._store, row.file_key)
        return OpenedMedia(file, row.size_bytes, row.content_type, None)
