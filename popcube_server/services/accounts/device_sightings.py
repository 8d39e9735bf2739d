"""When devices were seen last: kept to a few minutes, written many at a time."""

import logging
from collections import OrderedDict

from popcube_server.services.platform import Platform, Timer
from popcube_server.services.requester import Requester
from storage.committer import Committer
from storage.database import start
from storage.devices import SeeDevice

logger = logging.getLogger(__name__)

# A device is written down at most this often.
PRECISION_MS = 5 * 60 * 1000
FLUSH_AFTER_S = 10.0
MAX_REMEMBERED = 50_000
MAX_WAITING = 5_000
MAX_USER_AGENT_LETTERS = 300


class DeviceSightings:
    """Remembers who was seen, and writes it down a little later. A crash loses ten seconds of it."""

    def __init__(self, platform: Platform, committer: Committer) -> None:
        self._platform = platform
        self._committer = committer
        # By session: when it was written down last.
        self._noted: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[tuple[str, str], SeeDevice] = {}
        self._timer: Timer | None = None

    def saw(self, requester: Requester, address: str, user_agent: str) -> None:
        now_ms = self._platform.now_ms()
        if (
            now_ms - self._noted.get(requester.session_id, 0) < PRECISION_MS
            or len(self._waiting) >= MAX_WAITING
        ):
            return
        self._noted[requester.session_id] = now_ms
        self._noted.move_to_end(requester.session_id)
        if len(self._noted) > MAX_REMEMBERED:
            self._noted.popitem(last=False)
        self._waiting[requester.user_id, requester.device_id] = SeeDevice(
            requester.user_id, requester.device_id, now_ms, address, user_agent[:MAX_USER_AGENT_LETTERS]
        )
        if self._timer is None:
            self._timer = self._platform.call_later(FLUSH_AFTER_S, self._flush_soon)

    def start(self) -> None:
        """Nothing to do before something is seen."""

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.flush()

    async def flush(self) -> None:
        """Write down what waits."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            await self._committer.commit(*waiting.values())

    def _flush_soon(self) -> None:
        self._timer = None
        start(self.flush(), lambda failure: logger.error("Device sightings were not written: %s", failure))
