"""How this site and its links stand, for the operator."""

from collections.abc import Callable, Mapping
from typing import Any

from federation.sites.durability import SiteDurability
from federation.sites.link import SiteLink
from storage.database import Database
from storage.held_back import HeldBackRepository
from storage.log import Log
from storage.site_links import SiteLinksRepository


class SiteStatus:
    def __init__(
        self,
        name: str,
        log_id: str,
        log: Log,
        database: Database,
        links: Mapping[str, SiteLink],
        durability: SiteDurability | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._name = name
        self._log_id = log_id
        self._log = log
        self._database = database
        self._links = links
        self._durability = durability
        self._now_ms = now_ms
        self._repository = SiteLinksRepository()

    async def get(self) -> Mapping[str, Any]:
        cursors = await self._database.read(self._repository.get_cursors)
        held = await self._database.read(HeldBackRepository().count)
        return {
            "site": self._name,
            "log": self._log_id,
            "position": self._log.position,
            "durability": "local" if self._durability is None else self._durability.state.value,
            "taken_in": dict(cursors),
            "held_records": held.records,
            "held_events": held.events,
            "is_held_full": held.is_full,
            "peers": [self._peer(link) for link in self._links.values()],
        }

    def _peer(self, link: SiteLink) -> Mapping[str, Any]:
        progress = link.progress
        last_ms = progress.last_contact_ms
        return {
            "name": progress.peer,
            "state": progress.state.value,
            "confirmed": progress.confirmed,
            "backlog": progress.backlog,
            "lag_ms": progress.lag_ms,
            "silent_for_ms": None if last_ms is None else self._now_ms() - last_ms,
            "last_error": progress.last_error,
        }
