"""Places that clients name by tokens, as places in this site's log: also those of tokens that another site gave out.

Sites know of each other what each had when (storage/site_links.py). A token of a peer so has two places here: the
one up to which its holder has certainly seen everything (for what comes after: some may come twice, nothing is
missed), and the one from which on everything that its holder has seen is here (for what came before).
"""

from popcube_server.services.platform import Platform
from popcube_server.services.sync.tokens import (
    ONLY_SITE,
    PaginationToken,
    SyncToken,
    parse_pagination_token,
)
from storage.database import Database
from storage.events import ORDERING_STEP
from storage.log import Log
from storage.site_links import SiteLinksRepository
from synapse_like_config.lazy_dataclasses import dataclass

CATCH_UP_S = 1.0
"""How long a request with a token ahead of what is here waits for that to arrive."""
CATCH_UP_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Since:
    """Where a sync goes on."""

    position: int
    """0: nothing is known of what the client has. Everything is told again, with gaps marked as such."""
    to_device: int


class Places:
    """Reads tokens, and makes this site's."""

    def __init__(self, log_id: str, database: Database, log: Log, platform: Platform) -> None:
        """`log_id`: of this site's log; `ONLY_SITE` if there are no others."""
        self._log_id = log_id
        self._database = database
        self._log = log
        self._platform = platform
        self._links = SiteLinksRepository()

    def token(self, ordering: int) -> PaginationToken:
        """A place in a room's timeline."""
        return PaginationToken(ordering, self._log_id)

    def sync_token(self, position: int, to_device: int | None) -> SyncToken:
        return SyncToken(position, self._log_id, to_device)

    async def since(self, token: SyncToken) -> Since:
        """Where to go on for a client with this token. It never waits long, whatever the token says."""
        position = await self._floor(token.site, token.position)
        if token.to_device is None:
            return Since(position, position)
        # The messages that the holder has lie before its place: what could be waited for was.
        return Since(position, min(position, await self._floor_now(token.site, token.to_device)))

    def at_other_site(self, token: SyncToken) -> tuple[str, int] | None:
        """Of another site's token: the ID of its log, and where the holder's to-device messages end there."""
        return None if self._is_own(token.site) else (token.site, token.to_device_position)

    async def position_of(self, token: SyncToken) -> int:
        """The position up to which the holder has certainly seen everything; 0 if nothing is known of that."""
        return await self._floor(token.site, token.position)

    async def end_of(self, token: SyncToken) -> int:
        """The position from which on everything that the holder had is here."""
        if self._is_own(token.site):
            return token.position
        return await self._ceiling(token.site, token.position)

    async def behind(self, text: str) -> int:
        """The ordering behind everything that the holder had up to there: to page backwards. Raises `InvalidParam`."""
        token = parse_pagination_token(text)
        if self._is_own(token.site):
            return token.ordering
        place = await self._ceiling(token.site, token.ordering // ORDERING_STEP)
        return place * ORDERING_STEP

    async def ahead(self, text: str) -> int:
        """The ordering up to which the holder certainly had everything: to page forwards. Raises `InvalidParam`."""
        token = parse_pagination_token(text)
        if self._is_own(token.site):
            return token.ordering
        return await self._floor(token.site, token.ordering // ORDERING_STEP) * ORDERING_STEP

    def _is_own(self, log_id: str) -> bool:
        # Tokens from before there were several sites: whoever joined later has a copy of the log of then.
        return log_id in (self._log_id, ONLY_SITE)

    async def _floor(self, log_id: str, position: int) -> int:
        await self._catch_up(log_id, position)
        return await self._floor_now(log_id, position)

    async def _floor_now(self, log_id: str, position: int) -> int:
        if self._is_own(log_id):
            return position if position <= self._log.position else 0
        return await self._database.read(lambda tx: self._links.find_floor(tx, log_id, position)) or 0

    async def _ceiling(self, log_id: str, position: int) -> int:
        await self._catch_up(log_id, position)
        place = await self._database.read(lambda tx: self._links.find_ceiling(tx, log_id, position))
        return self._log.position if place is None else place

    async def _catch_up(self, log_id: str, position: int) -> None:
        """A client that moves between sites or replicas can be quicker than what it has seen. Bounded."""
        waited_s = 0.0
        while waited_s < CATCH_UP_S and await self._reached(log_id) < position:
            await self._platform.sleep(CATCH_UP_STEP_S)
            waited_s += CATCH_UP_STEP_S

    async def _reached(self, log_id: str) -> int:
        if self._is_own(log_id):
            return self._log.position
        cursor = await self._database.read(lambda tx: self._links.get_cursor(tx, log_id))
        # Of a log that nobody here knows nothing is to be expected.
        return cursor or 2**62
