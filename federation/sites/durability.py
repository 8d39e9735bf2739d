"""When a write may be answered: at once (`local`), or when a peer site has it on its disk too (`site`).

SAFE -> FALLEN_BACK    no peer confirmed what waits for longer than the fall-back time
FALLEN_BACK -> SAFE    a peer has everything again, or keeps up: it confirms soon what there was at some moment
"""

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

logger = logging.getLogger(__name__)


class DurabilityState(Enum):
    SAFE = "safe"
    FALLEN_BACK = "fallen back"


class DurabilityObserver(Protocol):
    """Metrics."""

    def fell_back(self) -> None: ...

    def recovered(self) -> None: ...


class SiteDurability:
    """Answers what a peer has confirmed; gives up on peers that do not answer, until one has caught up."""

    def __init__(
        self,
        clock: Any,
        fall_back_after_s: float,
        get_log_position: Callable[[], int],
        observer: DurabilityObserver,
    ) -> None:
        """`clock` is twisted's IReactorTime. It begins fallen back: no peer has been heard of."""
        self._clock = clock
        self._fall_back_after_s = fall_back_after_s
        self._get_log_position = get_log_position
        self._observer = observer
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._confirmed = 0
        self._timer: Any = None
        self._ends: dict[str, tuple[int, float]] = {}
        """While it is fallen back, by peer: where the log ended at a moment, and when that was."""
        self.state = DurabilityState.FALLEN_BACK

    def when_safe(self, position: int, answer: Callable[[], None]) -> None:
        """Call `answer` once what was written at `position` may be called safe. Positions come in order."""
        if position <= self._confirmed or self.state is DurabilityState.FALLEN_BACK:
            answer()
            return
        self._waiting.append((position, answer))
        if self._timer is None:
            self._timer = self._clock.callLater(self._fall_back_after_s, self._fall_back)

    def confirmed(self, peer: str, position: int) -> None:
        """A peer has this site's log up to `position` on its disk."""
        if position > self._confirmed:
            # Whoever is still catching up says so again and again, and is nobody to wait for.
            self._confirmed = position
            while self._waiting and self._waiting[0][0] <= position:
                self._waiting.popleft()[1]()
            self._restart_timer()
        if self.state is DurabilityState.FALLEN_BACK and self._keeps_up(peer, position):
            logger.warning("Site %s keeps up: writes are answered once it has them", peer)
            self.state = DurabilityState.SAFE
            self._ends.clear()
            self._observer.recovered()

    def _keeps_up(self, peer: str, position: int) -> bool:
        log_end, now_s = self._get_log_position(), self._clock.seconds()
        if position >= log_end:
            return True
        # On a busy site something new is always on its way: no peer has everything until there is a pause.
        end, since_s = self._ends.setdefault(peer, (log_end, now_s))
        if position < end:
            return False
        self._ends[peer] = (log_end, now_s)
        return bool(now_s - since_s < self._fall_back_after_s)

    def _restart_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = self._clock.callLater(self._fall_back_after_s, self._fall_back)

    def _fall_back(self) -> None:
        self._timer = None
        logger.error("No peer site confirms writes: they are answered once they are on this site's disk")
        self.state = DurabilityState.FALLEN_BACK
        self._observer.fell_back()
        self.release()

    def release(self) -> None:
        """Answer everything: it is on this site's disk. For a fall-back, and for the end."""
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            answer()

    def stop(self) -> None:
        # What is still written, by parts that end later, waits for nobody: there is no link any more.
        self.state = DurabilityState.FALLEN_BACK
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.release()
