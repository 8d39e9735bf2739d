"""Tells other servers again who is online: they believe it for half an hour."""

import logging
from typing import Final

from twisted.python.failure import Failure

from federation.room_dag.identifiers import domain_of
from federation.sending.deliveries import Deliveries
from federation.sending.destination_queue import Clock, Timer
from federation.sending.ephemeral import SharingServers, presence_passing
from storage.database import Database, start
from storage.presence import PresenceRepository, PresenceRow, SetPresence

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 20 * 60.0
AT_ONCE: Final = 100
PAUSE_S: Final = 1.0
"""Between so many users and the next ones."""


class PresenceRenewal:
    """All users of this server who are not offline, a few at a time."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        clock: Clock,
        sharing: SharingServers,
        deliveries: Deliveries,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._sharing = sharing
        self._deliveries = deliveries
        self._repository = PresenceRepository()
        self._due: list[PresenceRow] = []
        self._timer: Timer | None = None
        self._is_stopped = False

    def start(self) -> None:
        self._schedule(INTERVAL_S)

    def stop(self) -> None:
        self._is_stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _schedule(self, delay_s: float) -> None:
        if not self._is_stopped:
            self._timer = self._clock.callLater(delay_s, self._begin)

    def _begin(self) -> None:
        start(self._renew(), self._failed)

    def _failed(self, failure: Failure) -> None:
        logger.error("Others were not told who is still online: %s", failure.value)
        self._schedule(INTERVAL_S)

    async def _renew(self) -> None:
        if not self._due:
            rows = await self._database.read(self._repository.get_not_offline)
            self._due = [row for row in rows if domain_of(row.user_id) == self._server_name]
        users, self._due = self._due[:AT_ONCE], self._due[AT_ONCE:]
        for row in users:
            await self._tell(row.user_id)
        self._schedule(PAUSE_S if self._due else INTERVAL_S)

    async def _tell(self, user_id: str) -> None:
        # As it is by now: it may have changed since the list was made.
        row = await self._database.read(lambda tx: self._repository.find(tx, user_id))
        others = await self._sharing.of_user(user_id) - {self._server_name}
        if row is None or not others or self._is_stopped:
            return
        news = SetPresence(user_id, row.state, row.status_msg, row.last_active_ms, row.currently_active)
        self._deliveries.add_passing(others, presence_passing(news, None))
        self._deliveries.send_now(others)
