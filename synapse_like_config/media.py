"""Uploads, downloads and thumbnails."""

from collections.abc import Mapping
from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Plain


@dataclass(frozen=True)
class ThumbnailSize:
    """A thumbnail that is made when an image is uploaded."""

    width: int = options.integer(32, 1, 4096)
    height: int = options.integer(32, 1, 4096)
    method: str = options.choice("scale", ("crop", "scale"))


@dataclass(frozen=True)
class MediaRetention:
    """Media not looked at for so long are deleted; None keeps them."""

    local_media_lifetime_ms: int | None = options.optional_duration_ms()
    remote_media_lifetime_ms: int | None = options.optional_duration_ms()


@dataclass(frozen=True)
class MediaStorageProvider:
    """A second place for media, for example a bucket."""

    module: str = options.required_string()
    store_local: bool = options.boolean(False)
    store_remote: bool = options.boolean(False)
    store_synchronous: bool = options.boolean(False)
    config: Mapping[str, Plain] = options.plain_mapping(secret=True)


@dataclass(frozen=True)
class MediaUploadLimit:
    """At most `max_size` of uploads per user within any `time_period`."""

    time_period_ms: int = options.duration_ms("24h", 1000)
    max_size_bytes: int = options.size_bytes("1G", 1)


@dataclass(frozen=True)
class MediaSection:
    """`thumbnail_sizes` is what a thumbnail request is rounded to unless `dynamic_thumbnails` is on."""

    enable_media_repo: bool = options.boolean(True)
    enable_authenticated_media: bool = options.boolean(True)
    media_store_path: Path = options.path("media_store")
    max_upload_size_bytes: int = options.size_bytes("50M", 1)
    max_image_pixels: int = options.size_bytes("32M", 1)
    max_pending_media_uploads: int = options.integer(5, 1)
    unused_expiration_time_ms: int = options.duration_ms("24h", 1000)
    media_upload_limits: tuple[MediaUploadLimit, ...] = options.sections(MediaUploadLimit)
    dynamic_thumbnails: bool = options.boolean(False)
    thumbnail_sizes: tuple[ThumbnailSize, ...] = options.sections(
        ThumbnailSize,
        ThumbnailSize(32, 32, "crop"),
        ThumbnailSize(96, 96, "crop"),
        ThumbnailSize(320, 240, "scale"),
        ThumbnailSize(640, 480, "scale"),
        ThumbnailSize(800, 600, "scale"),
    )
    media_retention: MediaRetention = options.nested(MediaRetention())
    media_storage_providers: tuple[MediaStorageProvider, ...] = options.sections(MediaStorageProvider)
    prevent_media_downloads_from: tuple[str, ...] = options.strings()
    remote_media_download_burst_count_bytes: int = options.size_bytes("500M")
    remote_media_download_per_second_bytes: int = options.size_bytes("87K")
    max_avatar_size_bytes: int | None = options.optional_size_bytes()
    allowed_avatar_mimetypes: tuple[str, ...] | None = options.optional_strings()
