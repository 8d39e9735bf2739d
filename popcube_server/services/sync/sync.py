"""Synchronize: one request, from its token to its answer. Source: client-server API, "Syncing"."""

from popcube_server.services.platform import Platform
from popcube_server.services.sync.answers import Answers, Sources
from popcube_server.services.sync.notifier import Notifier
from popcube_server.services.sync.request import SyncRequest
from popcube_server.services.sync.tokens import SyncToken
from storage.log import Log

MAX_TIMEOUT_MS = 10 * 60 * 1000
CATCH_UP_S = 1.0
"""How long a request with a token ahead of the log waits for the log to get there."""
CATCH_UP_STEP_S = 0.1


class Sync:
    """Answers syncs, and lets them wait."""

    def __init__(
        self, log: Log, notifier: Notifier, answers: Answers, sources: Sources, platform: Platform, site: str
    ) -> None:
        self._log = log
        self._notifier = notifier
        self._answers = answers
        self._sources = sources
        self._platform = platform
        self._site = site

    async def sync(self, request: SyncRequest) -> bytes:
        """The JSON of the answer, as soon as there is news or the request's time is over."""
        deadline_s = self._platform.now_s() + min(request.timeout_ms, MAX_TIMEOUT_MS) / 1000
        requester = request.requester
        await self._tell_presence(request)
        since, to_device_since = None, 0
        if request.since is not None:
            since = await self._settle(request.since)
            to_device_since = min(request.since.to_device_position, since)
            # That the token comes back says that its answer arrived.
            await self._sources.to_device.delivered(requester.user_id, requester.device_id, to_device_since)
        while True:
            answer = await self._answers.make(request, since, to_device_since)
            if since is None or request.is_full_state or answer.has_news:
                return answer.body
            # Up to here there is nothing: the search goes on from there.
            since = answer.upto
            to_device_since = max(to_device_since, since)
            if self._log.position > since:
                continue
            left_s = deadline_s - self._platform.now_s()
            if left_s <= 0 or self._notifier.is_released:
                return answer.body
            if not await self._notifier.wait(requester.user_id, requester.device_id, left_s):
                return answer.body
            await self._tell_presence(request)

    async def _tell_presence(self, request: SyncRequest) -> None:
        # "If this parameter is omitted then the client is automatically marked as online when it uses this API."
        if request.presence != "offline":
            requester = request.requester
            await self._sources.presence.seen(requester.user_id, requester.device_id, request.presence)

    async def _settle(self, token: SyncToken) -> int:
        """The position up to which the client certainly has everything.

        A token of a site unknown here, or from the future (a restored backup), says nothing about this log: everything
        is told again, with gaps marked as such, rather than nothing.
        """
        if token.site != self._site:
            return 0
        waited_s = 0.0
        while token.position > self._log.position and waited_s < CATCH_UP_S:
            await self._platform.sleep(CATCH_UP_STEP_S)
            waited_s += CATCH_UP_STEP_S
        return token.position if token.position <= self._log.position else 0
