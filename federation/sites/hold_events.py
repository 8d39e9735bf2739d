"""Keeps events of peers that cannot become part of their rooms, so that a link does not wait for one of them for ever.

What can never be had (no event, not signed, of an unknown room version) is kept at once. What stands on something that
the peer does not give is tried for a while first, with its batch: the peer may be about to have it; so is what the
database does not take. Of a room of which something is kept already nothing is waited for. `retry_held.py` tries them
again.
"""

import logging
from collections.abc import Callable
from typing import Final

from federation.room_dag.canonical_json import encode_lenient
from federation.sites.batch import ReceivedEvent
from federation.sites.checked_event import CheckedEvent
from storage.committer import Committer, PeerCommitter
from storage.database import Database
from storage.held_back import HeldBackRepository, HeldEvent, HoldEvent

logger = logging.getLogger(__name__)

PATIENCE_MS: Final = 30_000
FIRST_PAUSE_MS: Final = 60_000


class HoldEvents:
    """Says when to wait no longer, and writes down."""

    def __init__(self, database: Database, committer: Committer, now_ms: Callable[[], int]) -> None:
        self._committer = committer
        self._now_ms = now_ms
        self._rooms = database.read_now(HeldBackRepository().get_rooms)
        self._failed_ms: dict[tuple[str, str], int] = {}
        """Site and event ID: since when it is tried in vain."""
        self._unwritten_ms: dict[tuple[str, str], int] = {}
        """Those that are placed each time, and then not taken by the database."""
        self._unwritable: set[str] = set()
        """Of these, and of what stands on them, the ones that are kept; after a start they fail once more."""

    def is_enough(self, site: str, placing: CheckedEvent) -> bool:
        """An event failed: whether the link has waited for it long enough."""
        return self._is_enough(self._failed_ms, site, placing)

    def is_enough_writing(self, site: str, placing: CheckedEvent) -> bool:
        """The same for one that was placed and could not be written."""
        return self._is_enough(self._unwritten_ms, site, placing)

    def _is_enough(self, since_ms: dict[tuple[str, str], int], site: str, placing: CheckedEvent) -> bool:
        if placing.event.room_id in self._rooms:
            return True
        now_ms = self._now_ms()
        return now_ms - since_ms.setdefault((site, placing.event.event_id), now_ms) >= PATIENCE_MS

    def is_unwritable(self, placing: CheckedEvent) -> bool:
        """Whether it is kept because it could not be written: it is not to fail the next batch too."""
        return placing.event.event_id in self._unwritable

    def placed(self, site: str, placing: CheckedEvent) -> None:
        """It was part of its room after all."""
        if self._failed_ms:
            self._failed_ms.pop((site, placing.event.event_id), None)

    async def hold(self, site: str, placing: CheckedEvent, reason: str) -> None:
        """On disk when it returns. Raises `CommitFailed`, `NoRoomToHold`."""
        event = placing.event
        await self._hold(
            HeldEvent(site, event.room_id, event.rules.version, placing.is_soft_failed, event.json), reason
        )
        self._failed_ms.pop((site, event.event_id), None)

    async def hold_unwritable(self, site: str, placing: CheckedEvent, reason: str) -> None:
        """The same for one that was placed and could not be written."""
        await self.hold(site, placing, reason)
        self._unwritten_ms.pop((site, placing.event.event_id), None)
        self._unwritable.add(placing.event.event_id)

    async def hold_unchecked(self, site: str, event: ReceivedEvent, reason: str) -> None:
        """The same for what is no event, as far as this site can tell."""
        pdu = encode_lenient(event.pdu)
        await self._hold(
            HeldEvent(site, event.room_id, event.room_version, event.is_soft_failed, pdu), reason
        )

    async def _hold(self, event: HeldEvent, reason: str) -> None:
        now_ms = self._now_ms()
        change = HoldEvent(event, reason, now_ms, now_ms + FIRST_PAUSE_MS)
        await PeerCommitter(self._committer, event.site).commit(change)
        logger.error("An event of %s from site %s is kept for later: %s", event.room_id, event.site, reason)
        self._rooms.add(event.room_id)
