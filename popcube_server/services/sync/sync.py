"""Synchronize: one request, from its token to its answer. Source: client-server API, "Syncing"."""

from popcube_server.services.platform import Platform
from popcube_server.services.sync.answers import Answers, Sources
from popcube_server.services.sync.notifier import Notifier
from popcube_server.services.sync.places import Places
from popcube_server.services.sync.request import SyncRequest
from storage.log import Log

MAX_TIMEOUT_MS = 10 * 60 * 1000
CATCH_UP_S = 1.0
"""How long a request with a token ahead of the log waits for the log to get there."""
CATCH_UP_STEP_S = 0.1
LONG_WAIT_S = 10.0
"""Who is still there after so long is told to be there once more: presence counts from the beginning of a sync for
longer."""
LONGEST_WAIT_S = 60.0
"""And who hears nothing for so long: before presence says that the device is gone."""


class Sync:
    """Answers syncs, and lets them wait."""

    def __init__(
        self,
        log: Log,
        notifier: Notifier,
        answers: Answers,
        sources: Sources,
        platform: Platform,
        places: Places,
    ) -> None:
        self._log = log
        self._notifier = notifier
        self._answers = answers
        self._sources = sources
        self._platform = platform
        self._places = places

    async def sync(self, request: SyncRequest) -> bytes:
        """The JSON of the answer, as soon as there is news or the request's time is over."""
        told_s = self._platform.now_s()
        deadline_s = told_s + min(request.timeout_ms, MAX_TIMEOUT_MS) / 1000
        requester = request.requester
        await self._tell_presence(request)
        since, to_device_since = None, 0
        if request.since is not None:
            place = await self._places.since(request.since)
            since, to_device_since = place.position, place.to_device
            # That the token comes back says that its answer arrived.
            await self._sources.to_device.delivered(requester.user_id, requester.device_id, to_device_since)
            elsewhere = self._places.at_other_site(request.since)
            if elsewhere is not None:
                await self._sources.to_device.delivered_elsewhere(
                    requester.user_id, requester.device_id, *elsewhere
                )
        while True:
            answer = await self._answers.make(request, since, to_device_since)
            if answer.body is not None:
                return answer.body
            if since is None or request.is_full_state:
                break
            # Up to here there is nothing: the search goes on from there.
            since = answer.upto
            to_device_since = max(to_device_since, since)
            if self._log.position > since:
                continue
            left_s = deadline_s - self._platform.now_s()
            if left_s <= 0 or self._notifier.is_released:
                break
            wait_s = min(left_s, LONGEST_WAIT_S)
            if not await self._notifier.wait(requester.user_id, requester.device_id, wait_s):
                break
            # Also of many short waits: what woke it may be nothing for it, each time.
            if self._platform.now_s() - told_s >= LONG_WAIT_S:
                told_s = self._platform.now_s()
                await self._tell_presence(request)
        return await self._answers.nothing(request, answer.upto)

    async def _tell_presence(self, request: SyncRequest) -> None:
        # "If this parameter is omitted then the client is automatically marked as online when it uses this API."
        if request.presence != "offline":
            requester = request.requester
            await self._sources.presence.seen(requester.user_id, requester.device_id, request.presence)
