"""Sending to other servers, by whoever has the duty: one sender after the other, never two."""

import logging
from collections.abc import Callable

from twisted.python.failure import Failure

from federation.sending.deliveries import Deliveries
from federation.sending.sender import Sender
from federation.sending.sending_duty import SendingDuty
from federation.sites.duties.duty import Hold
from storage.database import Waiter, start
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewSender:
    """A sender that was not started yet, and its queues."""

    sender: Sender
    deliveries: Deliveries


class SendingWork:
    """`DutyWork`; and an organisation's part, stopped after whoever says who has the duty."""

    def __init__(self, log_id: str, make_sender: Callable[[SendingDuty], NewSender]) -> None:
        """`log_id` is that of this site's log; empty on one site."""
        self._log_id = log_id
        self._make_sender = make_sender
        self._wanted: Hold | None = None
        self._present: NewSender | None = None
        self._is_ending = False
        self._at_rest: list[Waiter[None]] = []

    @property
    def queue_count(self) -> int:
        """Servers for which something waits here."""
        return 0 if self._present is None else len(self._present.deliveries)

    @property
    def parked_count(self) -> int:
        """Servers that do not answer, or refuse."""
        return 0 if self._present is None else self._present.deliveries.parked_count

    def gained(self, hold: Hold) -> None:
        self._wanted = hold
        if not self._is_ending:
            self._begin(hold)

    def lost(self) -> None:
        self._wanted = None
        present, self._present = self._present, None
        if present is not None:
            self._is_ending = True
            start(self._end(present.sender), self._failed)

    def start(self) -> None:
        return

    async def stop(self) -> None:
        """Wait until the last sender has ended."""
        if self._is_ending:
            waiter: Waiter[None] = Waiter()
            self._at_rest.append(waiter)
            await waiter

    def _begin(self, hold: Hold) -> None:
        self._present = self._make_sender(SendingDuty(hold, self._log_id))
        self._present.sender.start()

    async def _end(self, sender: Sender) -> None:
        await sender.stop()
        self._ended()

    def _failed(self, failure: Failure) -> None:
        logger.error("A federation sender did not end well: %s", failure)
        self._ended()

    def _ended(self) -> None:
        self._is_ending = False
        resting, self._at_rest = self._at_rest, []
        for waiter in resting:
            waiter.succeed(None)
        if self._wanted is not None:
            self._begin(self._wanted)
