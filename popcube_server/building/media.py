"""Builds the content repository: uploads, downloads, thumbnails, on the local disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from popcube_server.building.core import Core
from popcube_server.rest.client.authed_content_repo import AuthenticatedMedia
from popcube_server.rest.client.content_repo import MediaUploads, UnauthenticatedMedia
from popcube_server.services.media.awaited_uploads import AwaitedUploads
from popcube_server.services.media.download_media import DownloadMedia
from popcube_server.services.media.fill_media import FillMedia
from popcube_server.services.media.find_media import FindMedia, FindThawedMedia, MediaFinder, NoRemoteMedia
from popcube_server.services.media.get_thumbnail import GetThumbnail
from popcube_server.services.media.make_thumbnail import MakeThumbnail
from popcube_server.services.media.receive_content import ReceiveContent
from popcube_server.services.media.reserve_media import ReserveMedia
from popcube_server.services.media.shrink_picture import ShrinkInProcess
from popcube_server.services.media.thumbnail_sizes import ThumbnailSizes
from popcube_server.services.media.tidy_media_files import TidyMediaFiles
from popcube_server.services.media.upload_media import UploadMedia
from popcube_server.services.media.upload_quotas import UploadQuotas
from popcube_server.services.rate_limits import RateLimiter
from storage.media import MediaRepository, UploadLimit
from storage.media_files import LocalMediaFiles
from storage.media_store import MediaStore
from synapse_like_config.media import MediaSection


class _Part(Protocol):
    def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Media:
    """`find` and `store` are for other ways to the same content: federation, exports."""

    find: MediaFinder
    store: MediaStore
    servlets: Sequence[object]
    parts: Sequence[_Part]


def build_media(core: Core) -> Media:
    """Without a media repository (`enable_media_repo: false`) there are no endpoints."""
    config = core.config.media
    files = LocalMediaFiles(config.media_store_path)
    try:
        files.prepare()
    except OSError as error:
        raise SystemExit(f"media_store_path: the folder cannot be used: {error}") from error
    awaited = AwaitedUploads(core.platform, core.log)
    find = FindMedia(
        core.server_name, core.platform, core.database, MediaRepository(), awaited, NoRemoteMedia()
    )
    make = MakeThumbnail(core.platform, core.committer, files, ShrinkInProcess(config.max_image_pixels))
    parts = (TidyMediaFiles(core.platform, files), awaited, make)
    servlets = _build_servlets(core, config, files, find, make) if config.enable_media_repo else ()
    return Media(find, files, servlets, parts)


def _build_servlets(
    core: Core, config: MediaSection, store: MediaStore, find: MediaFinder, make: MakeThumbnail
) -> Sequence[object]:
    freezes = config.enable_authenticated_media
    thawed = FindThawedMedia(find, freezes)
    sizes = ThumbnailSizes(config.thumbnail_sizes, config.dynamic_thumbnails)

    def download(finder: MediaFinder) -> DownloadMedia:
        return DownloadMedia(core.platform, store, finder)

    def thumbnail(finder: MediaFinder) -> GetThumbnail:
        return GetThumbnail(core.platform, core.database, MediaRepository(), store, finder, sizes, make)

    max_bytes = config.max_upload_size_bytes
    return (
        _build_uploads(core, config, ReceiveContent(core.platform, store, max_bytes, freezes)),
        AuthenticatedMedia(download(find), thumbnail(find), max_bytes),
        UnauthenticatedMedia(download(thawed), thumbnail(thawed), max_bytes),
    )


def _build_uploads(core: Core, config: MediaSection, receive: ReceiveContent) -> MediaUploads:
    platform, committer, media = core.platform, core.committer, MediaRepository()
    limits = [UploadLimit(limit.time_period_ms, limit.max_size_bytes) for limit in config.media_upload_limits]
    quotas = UploadQuotas(platform, core.database, media, limits)
    reserve = ReserveMedia(
        platform,
        committer,
        RateLimiter(core.config.rate_limits.rc_media_create, platform.now_s),
        config.unused_expiration_time_ms,
        config.max_pending_media_uploads,
    )
    return MediaUploads(
        core.server_name,
        UploadMedia(platform, committer, receive, quotas),
        reserve,
        FillMedia(core.server_name, platform, core.database, committer, media, receive, quotas),
    )
