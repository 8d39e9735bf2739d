"""Builds the content repository: uploads, downloads, thumbnails, on the local disk."""

from collections.abc import Sequence
from typing import Protocol

from federation.sites.site_peers import SitePeers
from federation.transport.network import Network
from popcube_server.building.core import Core
from popcube_server.building.federation import Federation
from popcube_server.building.site_media import SiteMediaParts, build_site_media
from popcube_server.rest.client.authed_content_repo import AuthenticatedMedia
from popcube_server.rest.client.content_repo import MediaUploads, UnauthenticatedMedia
from popcube_server.rest.federation.media import FederationMedia
from popcube_server.services.media.ask_for_media import AskForMedia
from popcube_server.services.media.awaited_uploads import AwaitedUploads
from popcube_server.services.media.cached_remote_media import CachedRemoteMedia
from popcube_server.services.media.delete_unused_media import INTERVAL_S, DeleteUnusedMedia
from popcube_server.services.media.download_media import DownloadMedia
from popcube_server.services.media.fetch_remote_media import FetchRemoteMedia, RemoteMediaLimits
from popcube_server.services.media.fill_media import FillMedia
from popcube_server.services.media.find_media import FindMedia, FindThawedMedia, MediaFinder, RemoteMedia
from popcube_server.services.media.get_thumbnail import GetThumbnail
from popcube_server.services.media.known_contents import KnownContents
from popcube_server.services.media.make_thumbnail import MakeThumbnail
from popcube_server.services.media.media_uses import MediaUses
from popcube_server.services.media.receive_content import ReceiveContent
from popcube_server.services.media.reserve_media import ReserveMedia
from popcube_server.services.media.serve_media import ServeMedia
from popcube_server.services.media.shrink_picture import ShrinkInProcess
from popcube_server.services.media.thumbnail_sizes import ThumbnailSizes
from popcube_server.services.media.tidy_media_files import TidyMediaFiles
from popcube_server.services.media.upload_media import UploadMedia
from popcube_server.services.media.upload_quotas import UploadQuotas
from popcube_server.services.media.upload_safety import UploadSafety
from popcube_server.services.media.write_uses import NoteUses, TellUses
from popcube_server.services.periodic import Periodic
from popcube_server.services.rate_limits import RateLimiter
from storage.media import MediaRepository, UploadLimit
from storage.media_files import LocalMediaFiles
from storage.media_store import MediaStore
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.media import MediaRetention, MediaSection
from synapse_like_config.ratelimits import RateLimit


class _Part(Protocol):
    def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Media:
    """`find` and `store` are for other ways to the same content: exports."""

    find: MediaFinder
    store: MediaStore
    servlets: Sequence[object]
    link_servlets: Sequence[object]
    """For the listener that only the other sites of the organization reach."""
    parts: Sequence[_Part]


USE_STEPS = 10
"""On several sites, a look at media is told to all of them once in a tenth of the time after which unused media go."""


def build_media(core: Core, federation: Federation, network: Network, peers: SitePeers | None) -> Media:
    """Without a media repository (`enable_media_repo: false`) there are no endpoints."""
    config = core.config.media
    files = LocalMediaFiles(config.media_store_path)
    try:
        files.prepare()
    except OSError as error:
        raise SystemExit(f"media_store_path: the folder cannot be used: {error}") from error
    sites = build_site_media(core, peers, files)
    awaited = AwaitedUploads(core.platform, core.log)
    use_step_ms = _use_step_ms(core)
    note_uses = NoteUses(core.committer)
    tell_uses = TellUses(core.database, core.committer, use_step_ms) if use_step_ms else note_uses
    uses = MediaUses(core.platform, tell_uses)
    cached = CachedRemoteMedia(
        core.platform,
        core.database,
        core.committer,
        files,
        federation.allowed,
        config.prevent_media_downloads_from,
    )
    fetch = _build_fetch(core, federation, files, cached)

    known = KnownContents(core.database, MediaRepository(), core.log)
    contents = known.contents
    core.metrics.cache("media", lambda: len(contents), lambda: contents.hits, lambda: contents.misses)

    def finder(remote: RemoteMedia) -> FindMedia:
        return FindMedia(core.server_name, core.platform, known, awaited, remote, sites.others)

    find = finder(fetch)
    # Nothing is fetched for those who would not get it.
    thawed = FindThawedMedia(finder(cached)) if config.enable_authenticated_media else find
    make = MakeThumbnail(core.platform, core.committer, files, ShrinkInProcess(config.max_image_pixels))
    parts: list[_Part] = [
        TidyMediaFiles(core.platform, files),
        awaited,
        uses,
        make,
        fetch,
        *sites.parts,
    ]
    if config.media_retention != MediaRetention():
        unused = DeleteUnusedMedia(
            core.platform, core.database, core.committer, files, uses, config.media_retention, use_step_ms
        )
        parts.append(Periodic(core.platform, "Deleting media that nobody looks at", INTERVAL_S, unused.run))
    ways = _Ways(core, files, make, uses)
    servlets = _build_servlets(core, ways, find, thawed, sites) if config.enable_media_repo else ()
    return Media(find, files, servlets, sites.servlets, parts)


def _use_step_ms(core: Core) -> int:
    lifetime_ms = core.config.media.media_retention.local_media_lifetime_ms
    return 0 if core.sites is None or lifetime_ms is None else max(lifetime_ms // USE_STEPS, 1)


def _build_fetch(
    core: Core, federation: Federation, store: MediaStore, cached: CachedRemoteMedia
) -> FetchRemoteMedia:
    config = core.config.media
    rate = RateLimit(
        per_second=config.remote_media_download_per_second_bytes,
        burst_count=config.remote_media_download_burst_count_bytes,
    )
    return FetchRemoteMedia(
        core.platform,
        core.committer,
        store,
        cached,
        AskForMedia(federation.streaming, config.max_upload_size_bytes),
        RateLimiter(rate, core.platform.now_s),
        RemoteMediaLimits(config.max_upload_size_bytes, config.enable_authenticated_media),
    )


@dataclass(frozen=True, slots=True)
class _Ways:
    """What leads from a finder to an open file."""

    core: Core
    store: MediaStore
    make: MakeThumbnail
    uses: MediaUses

    def download(self, find: MediaFinder) -> DownloadMedia:
        return DownloadMedia(self.core.platform, self.store, find, self.uses)

    def thumbnail(self, find: MediaFinder) -> GetThumbnail:
        config = self.core.config.media
        sizes = ThumbnailSizes(config.thumbnail_sizes, config.dynamic_thumbnails)
        return GetThumbnail(
            self.core.platform,
            self.core.database,
            MediaRepository(),
            self.store,
            find,
            sizes,
            self.make,
            self.uses,
        )


def _build_servlets(
    core: Core, ways: _Ways, find: MediaFinder, thawed: MediaFinder, sites: SiteMediaParts
) -> Sequence[object]:
    config = core.config.media
    max_bytes = config.max_upload_size_bytes
    receive = ReceiveContent(core.platform, ways.store, max_bytes, config.enable_authenticated_media)
    serve = ServeMedia(ways.download(find), ways.thumbnail(find), core.platform.now_s)
    return (
        _build_uploads(core, config, receive, sites.safety),
        AuthenticatedMedia(ways.download(find), ways.thumbnail(find), max_bytes),
        UnauthenticatedMedia(ways.download(thawed), ways.thumbnail(thawed), max_bytes),
        FederationMedia(core.server_name, serve, lambda: core.platform.random_bytes(16).hex()),
    )


def _build_uploads(
    core: Core, config: MediaSection, receive: ReceiveContent, safety: UploadSafety
) -> MediaUploads:
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
        UploadMedia(platform, safety, receive, quotas),
        reserve,
        FillMedia(core.server_name, platform, core.database, safety, media, receive, quotas),
    )
