"""The end of a server: what ends badly, or not at all, does not keep the rest from ending."""

import logging
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from popcube_server.services.platform import Clock

logger = logging.getLogger(__name__)


class Ending:
    """Owns how much time there is for all that is given to it together."""

    def __init__(self, clock: Clock, within_s: float) -> None:
        self._clock = clock
        self._until_s = clock.seconds() + within_s

    async def end(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        """Whether `work`, which ends something of this name, is over. It is begun even when no time is left.

        What is wrong is logged, and what takes too long goes on by itself, for as long as the process is there.
        """
        over: Deferred[bool] = Deferred()
        left_s = max(0.0, self._until_s - self._clock.seconds())
        timer = self._clock.callLater(left_s, over.callback, False)

        def is_over(_: object) -> None:
            if timer.active():
                timer.cancel()
                over.callback(True)

        Deferred.fromCoroutine(work).addErrback(lambda failure: _log(name, failure)).addCallback(is_over)
        if not await over:
            logger.error("%s does not end: the server ends without it", name)
            return False
        return True


def _log(name: str, failure: Failure) -> None:
    logger.error("%s did not end well: %s", name, failure)
