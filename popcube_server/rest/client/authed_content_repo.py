"""Specification module authed_content_repo: downloads for those who are logged in."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.media_answers import (
    check_file_name,
    media_answer,
    named_answer,
    parse_request,
    parse_thumbnail,
    thumbnail_answer,
)
from popcube_server.rest.endpoint import Access, Call, FileAnswer, endpoint
from popcube_server.services.media.download_media import DownloadMedia
from popcube_server.services.media.get_thumbnail import GetThumbnail

# Content never changes, but it is for whoever has the token only.
_CACHE = "private, max-age=86400, immutable"


class AuthenticatedMedia:
    """Guests may look at pictures too."""

    def __init__(self, download: DownloadMedia, thumbnail: GetThumbnail, max_upload_bytes: int) -> None:
        self._download = download
        self._thumbnail = thumbnail
        self._max_upload_bytes = max_upload_bytes

    @endpoint("GET", "/_matrix/client/v1/media/download/{server_name}/{media_id}", Access.GUEST)
    async def download(self, call: Call) -> FileAnswer:
        return media_answer(await self._download.open(parse_request(call)), _CACHE)

    @endpoint("GET", "/_matrix/client/v1/media/download/{server_name}/{media_id}/{file_name}", Access.GUEST)
    async def download_as(self, call: Call) -> FileAnswer:
        check_file_name(call.path["file_name"])
        return named_answer(await self._download.open(parse_request(call)), call.path["file_name"], _CACHE)

    @endpoint("GET", "/_matrix/client/v1/media/thumbnail/{server_name}/{media_id}", Access.GUEST)
    async def thumbnail(self, call: Call) -> FileAnswer:
        return thumbnail_answer(
            await self._thumbnail.open(parse_request(call), parse_thumbnail(call)), _CACHE
        )

    @endpoint("GET", "/_matrix/client/v1/media/config", Access.GUEST)
    async def config(self, call: Call) -> Mapping[str, Any]:
        return {"m.upload.size": self._max_upload_bytes}
