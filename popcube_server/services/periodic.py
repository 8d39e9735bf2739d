"""Work that is done again and again: one run at a time, with a pause in between."""

import logging
from collections.abc import Awaitable, Callable

from twisted.python.failure import Failure

from popcube_server.services.platform import Platform, Timer
from storage.database import Waiter, start

logger = logging.getLogger(__name__)


class Periodic:
    """Calls `work` every `interval_s` after the end of its last run. What it raises is logged; it is called again."""

    def __init__(
        self, platform: Platform, name: str, interval_s: float, work: Callable[[], Awaitable[None]]
    ) -> None:
        self._platform = platform
        self._name = name
        self._interval_s = interval_s
        self._work = work
        self._timer: Timer | None = None
        self._is_running = False
        self._stopping: Waiter[None] | None = None

    def start(self) -> None:
        self._timer = self._platform.call_later(self._interval_s, self._begin)

    async def stop(self) -> None:
        """Wait for a run under way; there will be no other."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_running:
            self._stopping = Waiter()
            await self._stopping

    def _begin(self) -> None:
        self._timer = None
        self._is_running = True
        start(self._run(), self._failed)

    async def _run(self) -> None:
        await self._work()
        self._ended()

    def _failed(self, failure: Failure) -> None:
        logger.error("%s failed: %s", self._name, failure)
        self._ended()

    def _ended(self) -> None:
        self._is_running = False
        if self._stopping is None:
            self.start()
        else:
            self._stopping.succeed(None)
