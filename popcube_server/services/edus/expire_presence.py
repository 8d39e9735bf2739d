"""Users of other servers go offline when nobody says any more that they are there: their server may be gone."""

from collections.abc import Iterable
from typing import Final

from federation.room_dag.identifiers import domain_of
from popcube_server.services.platform import Platform
from popcube_server.services.presence.devices_presence import OFFLINE
from storage.committer import Committer
from storage.database import Database
from storage.presence import PresenceRepository, SetPresence

# Servers tell it again at least every 25 minutes.
EXPIRES_MS: Final = 35 * 60 * 1000
EXPIRES_ELSEWHERE_MS: Final = 24 * 3600 * 1000
"""For users of whom another site was told: it sees when they are gone, unless it is gone itself."""
INTERVAL_S: Final = 5 * 60.0


class ExpirePresence:
    """Remembers when each user who is not offline was last heard of; after a restart, from the first look on."""

    def __init__(
        self,
        server_name: str,
        database: Database,
        repository: PresenceRepository,
        committer: Committer,
        platform: Platform,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform
        self._heard_ms: dict[str, int] = {}

    def hear(self, user_ids: Iterable[str]) -> None:
        """Their server told of them, whether it was news or not."""
        now_ms = self._platform.now_ms()
        for user_id in user_ids:
            # Others are not shown as online anyway, or will be seen by the next look.
            if user_id in self._heard_ms:
                self._heard_ms[user_id] = now_ms

    async def expire(self) -> None:
        """To be called every `INTERVAL_S`."""
        rows, elsewhere = await self._database.read(
            lambda tx: (self._repository.get_not_offline(tx), self._repository.get_told_elsewhere(tx))
        )
        now_ms = self._platform.now_ms()
        far = [row for row in rows if domain_of(row.user_id) != self._server_name]
        self._heard_ms = {row.user_id: self._heard_ms.get(row.user_id, now_ms) for row in far}
        gone = [
            SetPresence(row.user_id, OFFLINE, row.status_msg, row.last_active_ms, False)
            for row in far
            if now_ms - self._heard_ms[row.user_id]
            >= (EXPIRES_ELSEWHERE_MS if row.user_id in elsewhere else EXPIRES_MS)
        ]
        if gone:
            await self._committer.commit(*gone)
