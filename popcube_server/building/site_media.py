"""Builds what brings files of media from one site of the organization to the others."""

import logging
from collections.abc import Sequence
from typing import Protocol, cast

from federation.sites.site_peers import SitePeers
from popcube_server.building.core import Core, SiteCore
from popcube_server.counters import Counter, Gauge
from popcube_server.metrics import Metrics
from popcube_server.rest.sites.media import AwaitedFiles, SiteMedia
from popcube_server.services.media.copy_from_sites import CopyFromSites
from popcube_server.services.media.drop_files import INTERVAL_S, DropFiles
from popcube_server.services.media.fetch_from_sites import FetchFromSites
from popcube_server.services.media.give_to_site import GiveToSite
from popcube_server.services.media.other_sites import BringFromSites, NoOtherSites, OtherSites
from popcube_server.services.media.upload_safety import FileAtPeer, RecordIsEnough, UploadSafety
from popcube_server.services.periodic import Periodic
from storage.committer import Committer
from storage.database import start
from storage.media_store import MediaStore
from storage.missing_media import HaveMediaFile, MissingCount
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)


class _Part(Protocol):
    def start(self) -> None: ...

    async def stop(self) -> None: ...


class SiteMediaMetrics:
    """How far copying is, in the organization's registry."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self._missing = Gauge(
            "popcube_site_media_missing", "Files of media that are known and not here.", registry=registry
        )
        self._missing_bytes = Gauge(
            "popcube_site_media_missing_bytes", "Bytes of the files that are not here.", registry=registry
        )
        self._copied = Counter(
            "popcube_site_media_copied_total", "Files copied from other sites.", registry=registry
        )
        self._copied_bytes = Counter(
            "popcube_site_media_copied_bytes_total", "Bytes copied from other sites.", registry=registry
        )
        self._unconfirmed = Counter(
            "popcube_site_media_unconfirmed_total",
            "How often no peer site had the file of an upload in time.",
            registry=registry,
        )

    def missing(self, count: MissingCount) -> None:
        self._missing.set(count.files)
        self._missing_bytes.set(count.size_bytes)

    def copied(self, size_bytes: int) -> None:
        self._copied.inc()
        self._copied_bytes.inc(size_bytes)

    def unconfirmed(self) -> None:
        self._unconfirmed.inc()


class NothingAwaited:
    """With `durability: local`, uploads wait for nobody."""

    def is_awaited(self, file_key: str) -> bool:
        return False

    def held(self, file_key: str) -> None:
        return


@dataclass(frozen=True, slots=True)
class SiteMediaParts:
    """`servlets` are for the listener that only sites reach."""

    others: OtherSites
    safety: UploadSafety
    servlets: Sequence[object]
    parts: Sequence[_Part]


class NoteInDatabase:
    """Through the committer."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def __call__(self, file_key: str) -> bool:
        committed = await self._committer.commit(HaveMediaFile(file_key))
        return cast(bool, committed.results[0])


def build_site_media(core: Core, peers: SitePeers | None, store: MediaStore) -> SiteMediaParts:
    """Next to nothing for an organization on one site."""
    if core.sites is None or peers is None:
        return SiteMediaParts(NoOtherSites(), RecordIsEnough(core.committer), (), ())
    platform = core.platform
    metrics = SiteMediaMetrics(core.metrics)
    fetch = FetchFromSites(platform, store, peers.clients, NoteInDatabase(core.committer))
    copy = CopyFromSites(platform, core.database, core.committer, core.log, fetch, metrics)
    drop = DropFiles(platform, core.database, core.committer, store)
    peers.follow(lambda change: _try_all(copy) if change.added else None)
    others = BringFromSites(platform, core.committer, fetch)
    parts: list[_Part] = [
        fetch,
        copy,
        Periodic(platform, "Deleting files that other sites did away with", INTERVAL_S, drop.run),
    ]
    safety: UploadSafety = RecordIsEnough(core.committer)
    awaited: AwaitedFiles = NothingAwaited()
    at_peer = _file_at_peer(core, core.sites, metrics)
    if at_peer is not None:
        safety = awaited = at_peer
        parts.append(at_peer)
    servlet = SiteMedia(GiveToSite(platform, store), awaited)
    return SiteMediaParts(others, safety, (servlet,), parts)


def _try_all(copy: CopyFromSites) -> None:
    start(
        copy.try_all(), lambda failure: logger.error("Missing media wait for their time: %s", failure.value)
    )


def _file_at_peer(core: Core, sites: SiteCore, metrics: SiteMediaMetrics) -> FileAtPeer | None:
    if sites.durability is None:
        return None
    fall_back_after_s = sites.config.fall_back_after_ms / 1000
    return FileAtPeer(core.platform, core.committer, sites.durability, fall_back_after_s, metrics)
