"""Brings media of other servers into our store: each once, within limits, whole or not at all."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred

from federation.coalescing import Coalescing
from federation.expiring_cache import ExpiringCache
from federation.transport.errors import FederationError
from federation.turns import FairTurns
from popcube_server.services.errors import LimitExceeded, WithCode
from popcube_server.services.media.ask_for_media import AskForMedia, IncomingContent
from popcube_server.services.media.cached_remote_media import CachedRemoteMedia
from popcube_server.services.media.delete_files import delete_files
from popcube_server.services.media.media_address import MediaAddress, MediaRequest
from popcube_server.services.media.receive_content import KEY_BYTES
from popcube_server.services.media.remote_media_errors import (
    NOT_YET_UPLOADED,
    TOO_LARGE,
    FailedFetch,
    describe_failure,
)
from popcube_server.services.media.spool import Spool
from popcube_server.services.platform import Platform
from popcube_server.services.rate_limits import RateLimiter
from storage.committer import Committer
from storage.media import ContentRecord
from storage.media_store import REMOTE_PREFIX, MediaStore, SourceTooLarge, StoredFile
from storage.remote_media import StoreRemoteMedia
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

FAILED_SIZE = 10_000
AT_ONCE = 64
AT_ONCE_PER_SERVER = 8
"""A server that sends slowly keeps only this many places, so that others' media still come."""


@dataclass(frozen=True, slots=True)
class RemoteMediaLimits:
    """`max_bytes` is for one content; `freezes`: what is fetched now is only for those who are logged in."""

    max_bytes: int
    freezes: bool


class _Mine:
    """Whether a request began the work whose outcome it got, or only joined it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, ContentRecord]]) -> None:
        self._work = work
        self.is_begun = False

    def begin(self) -> Coroutine[Any, Any, ContentRecord]:
        self.is_begun = True
        return self._work()


class FetchRemoteMedia:
    """A `RemoteMedia`. What was begun is finished even if all who asked have gone: the next will ask again."""

    def __init__(
        self,
        platform: Platform,
        committer: Committer,
        store: MediaStore,
        cached: CachedRemoteMedia,
        ask: AskForMedia,
        allowance: RateLimiter,
        limits: RemoteMediaLimits,
    ) -> None:
        """`allowance` is in bytes, by the address of the client."""
        self._platform = platform
        self._committer = committer
        self._store = store
        self._cached = cached
        self._ask = ask
        self._allowance = allowance
        self._limits = limits
        self._turns = FairTurns(AT_ONCE, AT_ONCE_PER_SERVER)
        self._fetches: Coalescing[MediaAddress, ContentRecord] = Coalescing()
        self._failed: ExpiringCache[MediaAddress, FailedFetch] = ExpiringCache(FAILED_SIZE, platform.now_ms)
        self._running: set[Deferred[ContentRecord]] = set()

    def start(self) -> None:
        """Nothing is to be fetched before the first request."""

    async def stop(self) -> None:
        """Break off what is under way; nothing of it is kept."""
        for work in tuple(self._running):
            work.cancel()

    async def get(self, request: MediaRequest) -> ContentRecord:
        """Raises `NotFound`, `LimitExceeded`, or 404, 429, 502 or 504 as the other server has it."""
        while True:
            content = await self._cached.find(request.address)
            if content is not None:
                return content
            failed = self._failed.find(request.address)
            if failed is not None:
                raise failed.refusal()
            mine = _Mine(lambda: self._fetch(request))
            try:
                return await self._fetches.run(request.address, mine.begin)
            except (LimitExceeded, WithCode) as error:
                # An allowance that is used up, and patience that is, are those of the one who began.
                own = isinstance(error, LimitExceeded) or error.status == NOT_YET_UPLOADED.status
                if mine.is_begun or not own:
                    raise

    async def forget(self, content: ContentRecord) -> None:
        await self._cached.forget(content)

    async def _fetch(self, request: MediaRequest) -> ContentRecord:
        server_name = request.address.server_name
        work = Deferred.fromCoroutine(self._turns.run(server_name, lambda: self._fetch_now(request)))
        self._running.add(work)
        try:
            return await work
        except FederationError as error:
            raise self._fail(request.address, describe_failure(error), error) from error
        except SourceTooLarge as error:
            raise self._fail(request.address, TOO_LARGE, error) from error
        except OSError as error:
            # Said here, because all who asked may have gone.
            logger.error("Media of %s could not be stored: %s", request.address.server_name, error)
            raise
        except CancelledError:
            raise WithCode(502, "M_UNKNOWN", "The server stops.") from None
        finally:
            self._running.discard(work)

    def _fail(self, address: MediaAddress, failed: FailedFetch, error: Exception) -> WithCode:
        logger.info("No media %s of %s: %s", address.media_id, address.server_name, error)
        if failed.lifetime_ms:
            self._failed.put(address, failed, self._platform.now_ms() + failed.lifetime_ms)
        return failed.refusal()

    async def _fetch_now(self, request: MediaRequest) -> ContentRecord:
        self._allowance.check(request.client_address)
        incoming = await self._ask.open(request.address, request.timeout_ms)
        try:
            return await self._keep(request, incoming)
        finally:
            incoming.close()

    async def _keep(self, request: MediaRequest, incoming: IncomingContent) -> ContentRecord:
        key = REMOTE_PREFIX + self._platform.random_bytes(KEY_BYTES).hex()
        stored = await self._receive(request.client_address, incoming, key)
        content = ContentRecord(
            self._platform.now_ms(),
            incoming.content_type,
            incoming.file_name,
            stored.size_bytes,
            stored.sha256,
            key,
            self._limits.freezes,
        )
        address = request.address
        committed = await self._committer.commit(
            StoreRemoteMedia(address.server_name, address.media_id, content)
        )
        kept = cast(ContentRecord, committed.results[0])
        if kept.file_key != key:
            # Another replica was quicker.
            await delete_files(self._platform, self._store, [key])
        return kept

    async def _receive(self, client_address: str, incoming: IncomingContent, key: str) -> StoredFile:
        allowance = _Allowance(self._allowance, client_address, incoming.length_bytes)
        spool = Spool(self._platform, self._limits.max_bytes)
        try:
            while data := await incoming.read():
                allowance.took(len(data))
                await spool.write(data)
            return await spool.store(self._store, key)
        finally:
            spool.close()
            allowance.settle()


class _Allowance:
    """What a client may have fetched, used up for one content: beforehand if its length is known, else as it comes."""

    def __init__(self, limiter: RateLimiter, key: str, length_bytes: int | None) -> None:
        """Raises `LimitExceeded`."""
        self._limiter = limiter
        self._key = key
        self._unused = length_bytes or 0
        if self._unused:
            limiter.spend(key, self._unused)

    def took(self, size_bytes: int) -> None:
        """Raises `LimitExceeded`."""
        covered = min(self._unused, size_bytes)
        self._unused -= covered
        if size_bytes > covered:
            self._limiter.spend(self._key, size_bytes - covered)

    def settle(self) -> None:
        """Give back what was not needed."""
        if self._unused:
            self._limiter.give_back(self._key, self._unused)
            self._unused = 0
