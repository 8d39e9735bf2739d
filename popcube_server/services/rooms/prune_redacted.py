"""Some time after its redaction, an event's content is taken out of the database too (`redaction_retention_period`)."""

import logging
from typing import Final

from federation.room_dag.event import load_event
from federation.room_dag.redaction import redact_event
from federation.room_dag.room_versions import get_room_rules
from popcube_server.services.platform import Platform
from storage.committer import Committer
from storage.database import Database
from storage.redacted_events import PruneEvent, RedactedEventsRepository, UnprunedEvent

logger = logging.getLogger(__name__)

BATCH: Final = 100
MAX_BATCHES: Final = 100
"""What is left over waits for the next run."""


class PruneRedacted:
    def __init__(
        self,
        database: Database,
        repository: RedactedEventsRepository,
        committer: Committer,
        platform: Platform,
        kept_ms: int,
    ) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer
        self._platform = platform
        self._kept_ms = kept_ms

    async def run(self) -> None:
        before_ms = self._platform.now_ms() - self._kept_ms
        for _ in range(MAX_BATCHES):
            events = await self._database.read(lambda tx: self._repository.get_unpruned(tx, before_ms, BATCH))
            if not events:
                return
            await self._committer.commit(*(_pruned(event) for event in events))
            logger.debug("The content of %d redacted events was removed", len(events))


def _pruned(event: UnprunedEvent) -> PruneEvent:
    rules = get_room_rules(event.room_version)
    return PruneEvent(event.nid, redact_event(load_event(event.event_id, event.json, rules)).json)
