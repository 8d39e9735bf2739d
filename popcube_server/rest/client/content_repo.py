"""Specification module content_repo: uploads, and the old unauthenticated downloads."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.media_answers import (
    check_file_name,
    media_answer,
    named_answer,
    parse_request,
    parse_thumbnail,
    parse_upload,
    thumbnail_answer,
)
from popcube_server.rest.endpoint import Access, Call, FileAnswer, Payload, endpoint
from popcube_server.services.media.download_media import DownloadMedia
from popcube_server.services.media.fill_media import FillMedia
from popcube_server.services.media.get_thumbnail import GetThumbnail
from popcube_server.services.media.media_address import parse_media_address
from popcube_server.services.media.reserve_media import ReserveMedia
from popcube_server.services.media.upload_media import UploadMedia

_CACHE = "public, max-age=86400, immutable"


class MediaUploads:
    """New media."""

    def __init__(self, server_name: str, upload: UploadMedia, reserve: ReserveMedia, fill: FillMedia) -> None:
        self._server_name = server_name
        self._upload = upload
        self._reserve = reserve
        self._fill = fill

    @endpoint("POST", "/_matrix/media/v3/upload", payload=Payload.RAW)
    async def upload(self, call: Call) -> Mapping[str, Any]:
        media_id = await self._upload.upload(call.requester, parse_upload(call))
        return {"content_uri": f"mxc://{self._server_name}/{media_id}"}

    @endpoint("POST", "/_matrix/media/v1/create", payload=Payload.OPTIONAL_JSON_OBJECT)
    async def create(self, call: Call) -> Mapping[str, Any]:
        reservation = await self._reserve.reserve(call.requester)
        return {
            "content_uri": f"mxc://{self._server_name}/{reservation.media_id}",
            "unused_expires_at": reservation.expires_ms,
        }

    @endpoint("PUT", "/_matrix/media/v3/upload/{server_name}/{media_id}", payload=Payload.RAW)
    async def fill(self, call: Call) -> Mapping[str, Any]:
        address = parse_media_address(call.path["server_name"], call.path["media_id"])
        await self._fill.fill(call.requester, address, parse_upload(call))
        return {}


class UnauthenticatedMedia:
    """COMPAT: downloads for clients from before v1.11 of the specification, and only of what is not frozen."""

    def __init__(self, download: DownloadMedia, thumbnail: GetThumbnail, max_upload_bytes: int) -> None:
        self._download = download
        self._thumbnail = thumbnail
        self._max_upload_bytes = max_upload_bytes

    @endpoint("GET", "/_matrix/media/v3/download/{server_name}/{media_id}", Access.OPEN)
    async def download(self, call: Call) -> FileAnswer:
        return media_answer(await self._download.open(parse_request(call)), _CACHE)

    @endpoint("GET", "/_matrix/media/v3/download/{server_name}/{media_id}/{file_name}", Access.OPEN)
    async def download_as(self, call: Call) -> FileAnswer:
        check_file_name(call.path["file_name"])
        return named_answer(await self._download.open(parse_request(call)), call.path["file_name"], _CACHE)

    @endpoint("GET", "/_matrix/media/v3/thumbnail/{server_name}/{media_id}", Access.OPEN)
    async def thumbnail(self, call: Call) -> FileAnswer:
        return thumbnail_answer(
            await self._thumbnail.open(parse_request(call), parse_thumbnail(call)), _CACHE
        )

    @endpoint("GET", "/_matrix/media/v3/config", Access.GUEST)
    async def config(self, call: Call) -> Mapping[str, Any]:
        return {"m.upload.size": self._max_upload_bytes}
